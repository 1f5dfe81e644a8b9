"""
Which devices on which hosts are the overlay: both ends of every tunnel paired, the topology made from what is there.

A half-configured overlay is understood as far as it goes: what is missing or contradictory is a finding with the
command that mends it, and the topology holds the spokes whose tunnels stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface

from lab.model import IPV6_LEAST_MTU, MULTICAST, Finding, NodePlan, Topology, Tunnel, TunnelOptions
from lab.overlay.readback import IPV6_OFF, Device, Seen


@dataclass(frozen=True)
class Understood:
    """The overlay that was found (None: none that could be tested), and what is wrong with it."""

    topology: Topology | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Hub:
    seen: Seen
    bridge: Device
    overlay: IPv4Interface


def understand(seen: Mapping[str, Seen]) -> Understood:
    """Reads an overlay out of its hosts, the hub first."""
    findings: list[Finding] = []
    first, *others = seen.values()
    hub = _hub(first, findings)
    if hub is None:
        return Understood(None, tuple(findings))
    nodes: list[NodePlan] = []
    tunnels: list[Tunnel] = []
    ends: list[Device] = []
    for number, spoke in enumerate(others, 1):
        near = _spoke_tunnel(hub, spoke, findings)
        far = _hub_tunnel(hub, spoke, near, findings)
        if near is None or far is None:
            continue
        _same_parameters(hub.seen, far, spoke, near, findings)
        plan = _spoke_plan(hub, spoke, near, findings)
        if plan is not None:
            nodes.append(plan)
            tunnels.append(Tunnel(spoke.name, hub_device=far.name, spoke_device=near.name, number=number))
            ends.append(far)
    if not nodes:
        return Understood(None, tuple(findings))
    underlay = _underlay(hub.seen, ends[0])
    hub_plan = NodePlan(
        hub.seen.name,
        "hub",
        *underlay,
        hub.bridge.name,
        _nic(hub.seen, ends[0]),
        _underlay6(hub.seen, ends[0]),
        _further(hub.seen, *underlay),
    )
    topology = Topology(
        name="found",
        nodes=(hub_plan, *nodes),
        tunnels=tuple(tunnels),
        options=_options(ends[0]),
        bridge=hub.bridge.name,
        multicast_route=_multicast_route(hub.seen, hub.bridge.name),
        answer_broadcast_ping=hub.seen.sysctls.get("net.ipv4.icmp_echo_ignore_broadcasts") == "0",
        ipv6=any(_has_ipv6(seen[plan.name], plan.device) for plan in (hub_plan, *nodes)),
    )
    return Understood(topology, tuple(findings))


def _hub(seen: Seen, findings: list[Finding]) -> _Hub | None:
    tunnels = seen.tunnels()
    if not tunnels:
        findings.append(
            Finding(
                "tunnel-missing",
                seen.name,
                "",
                "the hub has no tunnel at all",
                f"its devices are {', '.join(seen.devices)}",
                "ip link add gretap1 type gretap remote SPOKE ttl 64 && ip link set gretap1 up master bridge0",
                ("PRE-01", "HUB-02"),
            )
        )
        return None
    candidates = [
        device
        for device in seen.devices.values()
        if device.kind == "bridge" and any(port.tunnel for port in seen.ports_of(device.name))
    ]
    if not candidates:
        names = ", ".join(device.name for device in tunnels)
        target = next((device.name for device in seen.devices.values() if device.kind == "bridge"), "bridge0")
        remedy = " && ".join(f"ip link set {device.name} master {target}" for device in tunnels)
        findings.append(
            Finding(
                "port-not-bridged",
                seen.name,
                tunnels[0].name,
                f"none of the hub's tunnels ({names}) is a port of a bridge",
                "no tunnel has a master",
                remedy,
                ("HUB-02", "BCAST-01"),
            )
        )
        return None
    if len(candidates) > 1:
        names = ", ".join(device.name for device in candidates)
        findings.append(
            Finding(
                "two-overlays",
                seen.name,
                candidates[0].name,
                f"several bridges have tunnels as ports ({names}): the first is taken for the overlay",
                names,
                "ip link set TUNNEL master BRIDGE    (all tunnels of one overlay into one bridge)",
            )
        )
    bridge = candidates[0]
    addresses = seen.addresses_of(bridge.name)
    if not addresses:
        on_ports = [
            (port.name, address) for port in seen.ports_of(bridge.name) for address in seen.addresses_of(port.name)
        ]
        evidence = ", ".join(f"{address} is on {name}" for name, address in on_ports) or "no overlay address anywhere"
        moved = on_ports[0][1] if on_ports else "172.16.254.1/24"
        findings.append(
            Finding(
                "hub-address-missing",
                seen.name,
                bridge.name,
                f"the hub's overlay address is not on {bridge.name}",
                evidence,
                f"ip addr add {moved} dev {bridge.name}",
                ("BCAST-02",),
            )
        )
        return None
    return _Hub(seen, bridge, addresses[0])


def _spoke_tunnel(hub: _Hub, spoke: Seen, findings: list[Finding]) -> Device | None:
    hubs = _own(hub.seen)
    tunnels = spoke.tunnels()
    to_hub = [device for device in tunnels if device.tunnel and device.tunnel.remote in hubs]
    if not to_hub:
        wrong = next((device for device in tunnels if device.tunnel), None)
        if wrong is not None and wrong.tunnel is not None:
            findings.append(
                Finding(
                    "tunnel-remote-mismatch",
                    spoke.name,
                    wrong.name,
                    f"{wrong.name} of {spoke.name} goes to {wrong.tunnel.remote}, which is no address of the hub",
                    f"the hub has {', '.join(sorted(hubs))}",
                    f"ip link set {wrong.name} type {wrong.kind} remote {_main_address(hub.seen)}",
                    ("PRE-08",),
                )
            )
        else:
            findings.append(
                Finding(
                    "tunnel-missing",
                    spoke.name,
                    "",
                    f"{spoke.name} has no tunnel to the hub",
                    f"its devices are {', '.join(spoke.devices)}",
                    f"ip link add gretap1 type gretap remote {_main_address(hub.seen)} ttl 64"
                    " && ip link set gretap1 up",
                    ("PRE-01",),
                )
            )
        return None
    if len(to_hub) > 1:
        names = ", ".join(device.name for device in to_hub)
        findings.append(
            Finding(
                "attached-twice",
                spoke.name,
                to_hub[1].name,
                f"{spoke.name} has {len(to_hub)} tunnels to the hub ({names}): the one with an address is taken",
                names,
                f"ip link del {to_hub[1].name}",
                ("HUB-04",),
            )
        )
    return next((device for device in to_hub if spoke.addresses_of(device.name)), to_hub[0])


def _hub_tunnel(hub: _Hub, spoke: Seen, near: Device | None, findings: list[Finding]) -> Device | None:
    here = _own(spoke)
    matching = [device for device in hub.seen.tunnels() if device.tunnel and device.tunnel.remote in here]
    if near is not None and near.tunnel is not None:
        same = [
            device
            for device in matching
            if device.tunnel and (device.kind, device.tunnel.vni) == (near.kind, near.tunnel.vni)
        ]
        matching = same or matching
    if not matching:
        findings.append(
            Finding(
                "tunnel-missing",
                hub.seen.name,
                "",
                f"the hub has no tunnel whose remote is an address of {spoke.name}",
                f"{spoke.name} has {', '.join(sorted(here - {'127.0.0.1'}))}; the hub's remotes are "
                + ", ".join(str(device.tunnel.remote) for device in hub.seen.tunnels() if device.tunnel),
                f"ip link add NAME type gretap remote {_main_address(spoke)} ttl 64"
                f" && ip link set NAME up master {hub.bridge.name}",
                ("PRE-08",),
            )
        )
        return None
    far = next((device for device in matching if device.master == hub.bridge.name), matching[0])
    if far.master != hub.bridge.name:
        findings.append(
            Finding(
                "port-not-bridged",
                hub.seen.name,
                far.name,
                f"{far.name} of the hub, the tunnel to {spoke.name}, is not a port of {hub.bridge.name}",
                f"its master is {far.master or 'none'}",
                f"ip link set {far.name} master {hub.bridge.name}",
                ("HUB-02", "BCAST-01"),
            )
        )
    return far


def _same_parameters(hub: Seen, far: Device, spoke: Seen, near: Device, findings: list[Finding]) -> None:
    if far.tunnel is None or near.tunnel is None:
        return
    here, there = near.tunnel, far.tunnel
    if (here.input_key, here.output_key) != (there.output_key, there.input_key):
        evidence = f"{spoke.name} {near.name}: ikey {here.input_key} okey {here.output_key}; "
        evidence += f"{hub.name} {far.name}: ikey {there.input_key} okey {there.output_key}"
        remedy = f"ip link set {near.name} type {near.kind} "
        remedy += "nokey" if there.input_key is None else f"ikey {there.output_key} okey {there.input_key}"
        findings.append(
            Finding(
                "tunnel-key-mismatch", spoke.name, near.name, "the tunnel's keys differ", evidence, remedy, ("WIRE-07",)
            )
        )
    for name, mine, theirs, word in (
        ("checksum", here.checksum, there.checksum, "csum"),
        ("sequence", here.sequence, there.sequence, "seq"),
    ):
        if mine[0] != theirs[1] or mine[1] != theirs[0]:
            findings.append(
                Finding(
                    f"tunnel-{name}-mismatch",
                    spoke.name,
                    near.name,
                    f"GRE {name} is on at one end only",
                    f"{spoke.name} {near.name} in/out {mine}; {hub.name} {far.name} in/out {theirs}",
                    f"ip link set {near.name} type {near.kind} {'' if theirs[0] else 'no'}{word}",
                    ("WIRE-08",),
                )
            )


def _spoke_plan(hub: _Hub, spoke: Seen, near: Device, findings: list[Finding]) -> NodePlan | None:
    addresses = spoke.addresses_of(near.name)
    if not addresses:
        findings.append(
            Finding(
                "overlay-address-missing",
                spoke.name,
                near.name,
                f"{near.name} of {spoke.name} has no overlay address",
                "no IPv4 address on it",
                f"ip addr add ADDRESS/{hub.overlay.network.prefixlen} dev {near.name}",
                ("PRE-09",),
            )
        )
        return None
    overlay = addresses[0]
    if overlay.network != hub.overlay.network:
        findings.append(
            Finding(
                "prefix-mismatch",
                spoke.name,
                near.name,
                f"{spoke.name} is {overlay} on the overlay, the hub {hub.overlay}: not the same subnet",
                f"{overlay.network} against {hub.overlay.network}",
                f"ip addr del {overlay} dev {near.name}"
                f" && ip addr add {overlay.ip}/{hub.overlay.network.prefixlen} dev {near.name}",
                ("PRE-09",),
            )
        )
    underlay = _underlay(spoke, near)
    return NodePlan(
        spoke.name,
        "spoke",
        underlay[0],
        overlay,
        near.name,
        _nic(spoke, near),
        _underlay6(spoke, near),
        _further(spoke, underlay[0], overlay),
    )


def _underlay(seen: Seen, tunnel: Device) -> tuple[IPv4Interface, IPv4Interface]:
    """The underlay address that the tunnel uses, and the overlay address of the node."""
    end = tunnel.tunnel
    nic = _nic(seen, tunnel)
    own = seen.addresses_of(nic)
    chosen = next((address for address in own if end and str(address.ip) == end.local), None)
    holder = tunnel.master or tunnel.name
    overlay = (seen.addresses_of(holder) or seen.addresses_of(tunnel.name))[0]
    return (chosen or own[0], overlay)


def _own(seen: Seen) -> set[str]:
    return {str(address.ip) for _, address in seen.addresses} | {str(address.ip) for _, address in seen.addresses6}


def _further(seen: Seen, *own: IPv4Interface) -> tuple[str, ...]:
    """The host's other addresses, by which it may answer too."""
    found = (str(address.ip) for _, address in seen.addresses if not address.ip.is_loopback)
    return tuple(address for address in found if address not in {str(each.ip) for each in own})


def _underlay6(seen: Seen, tunnel: Device) -> IPv6Interface | None:
    """The address of IPv6 that the tunnel starts at, if it goes over IPv6."""
    local = tunnel.tunnel.local if tunnel.tunnel else None
    return next((address for _, address in seen.addresses6 if str(address.ip) == local), None)


def _has_ipv6(seen: Seen, device: str) -> bool:
    """Whether IPv6 is used on a device, or would be, but for an MTU below what IPv6 needs."""
    if any(name == device for name, _ in seen.addresses6):
        return True
    return seen.devices[device].mtu < IPV6_LEAST_MTU and seen.sysctls.get(IPV6_OFF) == "0"


def _nic(seen: Seen, tunnel: Device) -> str:
    end = tunnel.tunnel
    if end is not None and end.local and (device := seen.device_with(end.local)):
        return device
    return (seen.device_to(end.remote) if end and end.remote else None) or "ens3"


def _main_address(seen: Seen) -> str:
    """The address that a cloud knows a host by: that of the device of its default route."""
    default = seen.route_to("198.51.100.1")
    addresses = seen.addresses_of(default.device) if default and default.device else []
    return str(addresses[0].ip) if addresses else "ADDRESS"


def _options(end: Device) -> TunnelOptions:
    tunnel = end.tunnel
    if tunnel is None:
        return TunnelOptions()
    found = TunnelOptions(
        kind=tunnel.kind,
        ttl=tunnel.ttl,
        local=tunnel.local is not None,
        tos_inherit=tunnel.tos_inherit,
        tos=tunnel.tos,
        key=tunnel.output_key,
        checksum=tunnel.checksum[1],
        sequence=tunnel.sequence[1],
        pmtudisc=tunnel.pmtudisc,
        ignore_df=tunnel.ignore_df,
    )
    if tunnel.kind == "ip6gretap":
        return replace(found, encap_limit=tunnel.encap_limit)
    return replace(found, port=tunnel.port) if tunnel.port else found


def _multicast_route(seen: Seen, device: str) -> IPv4Network:
    routes: Sequence[IPv4Network] = [
        route.to for route in seen.routes if route.device == device and route.to.subnet_of(MULTICAST)
    ]
    return max(routes, key=lambda network: network.num_addresses, default=MULTICAST)
