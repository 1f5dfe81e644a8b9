"""Rules of IPv6 inside the overlay: all of them of single hosts, none of which IPv4 shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address

from lab.diagnose import trial
from lab.diagnose.codes import CODES
from lab.diagnose.rules.host import firewall_exceptions
from lab.diagnose.rules.host.firewall_exceptions import by_ports, excepted, hooks, inserted, narrowed
from lab.diagnose.scene import HostScene, Scene
from lab.firewall.matches import PacketPattern
from lab.firewall.rules import FirewallRule
from lab.model import ALL_NODES, IPV6_LEAST_MTU, Finding
from lab.tunnels import KINDS

ICMPV6_NUMBER = 58
ICMPV6 = ("-p ipv6-icmp", "meta l4proto ipv6-icmp")
OF_ONE_HOST = {code for code in CODES if code.startswith("ipv6-")} | {"mtu-below-1280", "icmpv6-filtered"}
"""The codes of what keeps one host from answering."""
NEEDED = ("130/0", "131/0", "132/0", "135/0", "136/0", "143/0")
"""Type and code of what queriers, members of groups and neighbours send (RFC 3810, 4861)."""
TO_ALL = PacketPattern(ICMPV6_NUMBER, destination=str(ALL_NODES), ethertype="ip6", kind="multicast")
BRIDGE_CALLS = "net.bridge.bridge-nf-call-ip6tables"


def too_small(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Overlay devices carry the 1280 octets that IPv6 needs."""
    device, options = host.device, scene.topology.options
    if scene.topology.ipv6 and device is not None and device.mtu < IPV6_LEAST_MTU:
        left = host.nic.mtu - KINDS[options.kind].overhead(options) if host.nic else 0  # to the tunnel, by the NIC
        yield host.declared("mtu-below-1280", device.name, mtu=device.mtu, fitting=max(IPV6_LEAST_MTU, left))


def link_local(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Overlay devices have what the kernel gives every device with IPv6: a link-local address, a route of groups."""
    device = host.device if scene.topology.ipv6 and _has_ipv6(host) else None
    if device is None or not device.up or device.mtu < IPV6_LEAST_MTU:
        return
    lacks = []
    if not any(name == device.name and address.is_link_local for name, address in host.seen.addresses6):
        lacks.append(("link-local address", f"ip -6 addr add {_from_mac(device.mac)}/64 dev {device.name}"))
    routed = {(route.family, route.dst, route.dev) for route in host.readings["routes"]}
    if ("inet6", "ff00::/8", device.name) not in routed:
        route = f"ip -6 route replace multicast ff00::/8 dev {device.name} table local proto kernel metric 256"
        lacks.append(("route of ff00::/8", route))
    if lacks:
        found = f"no {' and no '.join(what for what, _ in lacks)}; it has {_addresses(host)}"
        yield host.declared("ipv6-link-local-missing", device.name, found, " && ".join(fix for _, fix in lacks))


def _has_ipv6(host: HostScene) -> bool:
    return host.sysctls.get(f"net.ipv6.conf.{host.plan.device}.disable_ipv6") == "0"


def _from_mac(mac: str) -> IPv6Address:
    """The link-local address that is made from a MAC (RFC 4291 appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    made = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Address((0xFE80 << 112) | int.from_bytes(made, "big"))


def filtered(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Firewalls leave ICMPv6 alone: neighbour discovery and membership reports are part of it (RFC 4890)."""
    silent = _is_silent(scene, host)
    for rule in host.firewall if scene.topology.ipv6 else ():
        if not rule.drops or rule.family not in ("ip6", "inet") or hooks(host, rule) == {"forward"}:
            continue
        named = any(rule.names(icmp=one) and _takes(rule, one) for one in NEEDED)
        named = named or bool(rule.matches("destination") and rule.takes(TO_ALL))
        if (silent and _may_match(rule)) or (named and not excepted(host, rule, ICMPV6)):
            yield host.declared("icmpv6-filtered", host.plan.device, rule.counted, inserted(rule, ICMPV6))


def bridged(scene: Scene, hub: HostScene) -> Iterator[Finding]:
    """A rule of the hub for what it routes or bridges, which drops IPv6 packets between spokes."""
    bridge = scene.topology.bridge
    if not any(_is_silent(scene, host) for host in scene.spokes):
        return
    by_bridge = hub.device is not None and hub.device.details.get("nf_call_ip6tables")
    families = ("bridge", "ip6", "inet") if hub.parameter(BRIDGE_CALLS) or by_bridge else ("bridge",)
    for rule in hub.firewall:
        forwards = rule.family in families and (rule.family == "bridge" or hooks(hub, rule) == {"forward"})
        if forwards and rule.drops and _may_match(rule):
            exception = ("", by_ports(hub)) if rule.family == "bridge" else firewall_exceptions.bridged(bridge)
            yield hub.declared(
                "bridged-dropped", bridge, f"IPv6: {rule.counted}", inserted(rule, narrowed(rule, exception))
            )


def unanswered(scene: Scene, found: Sequence[Finding]) -> Iterator[Finding]:
    """Who does not answer a ping to ff02::1, where no other rule explains it."""
    explained = {one.node for one in found if one.code in OF_ONE_HOST}
    # each spoke may be a victim of these; a loss of IPv4, too, is explained by the tunnel
    if scene.losses or any(one.code in ("bridged-dropped", "traffic-filtered") for one in found):
        return
    unforwarded = trial.unforwarded(scene.trial.pings6, scene.hub.name)
    for pinger, name in unforwarded[:1]:
        said = f"{scene.hub.name} receives IPv6 answers from both, but {pinger} receives none from {name}"
        yield scene.hub.declared("ipv6-unanswered", scene.topology.bridge, said)
    explained |= {name for _, name in unforwarded}
    for host in scene.hosts.values() if scene.topology.ipv6 else ():
        if host.name not in explained and _is_silent(scene, host):
            said = f"ip -6 addr show dev {host.plan.device} has {_addresses(host)}"
            yield host.declared("ipv6-unanswered", host.plan.device, said)


def _is_silent(scene: Scene, host: HostScene) -> bool:
    """Whether a ping to ff02::1 that others answered was not answered by a host."""
    return any(
        answers.counts and host.name in scene.topology.reached(answers.pinger) and host.name not in answers.counts
        for answers in scene.trial.pings6
    )


def _may_match(rule: FirewallRule) -> bool:
    """Whether a rule may have dropped ICMPv6: it was hit, or does not count and names it."""
    names = rule.names(protocol=ICMPV6_NUMBER) or rule.names(ethertype="ip6") or bool(rule.matches("icmp"))
    return _takes(rule) and (bool(rule.hits) or (rule.hits is None and names))


def _takes(rule: FirewallRule, icmp: str | None = None) -> bool:
    packet = PacketPattern(ICMPV6_NUMBER, ethertype="ip6", kind="multicast", icmp=icmp)
    return any(rule.takes(one) is not False for one in (packet, replace(packet, kind="unicast")))


def _addresses(host: HostScene) -> str:
    own = [str(address) for name, address in host.seen.addresses6 if name == host.plan.device]
    return ", ".join(own) or "no address"
