"""What live hosts need of each other: an overlay that fits together, MTUs, addresses that differ, clocks that agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from lab.checkup.check import Check
from lab.checkup.looking import Host
from lab.model import Finding, Topology, mac_of
from lab.overlay import plan as overlay
from lab.overlay.readback import Device

ALL = "all hosts"
CLOCKS = 1.0
"""Seconds that clocks may differ by: captures of several hosts are put in order by them."""


def checks(hosts: Mapping[str, Host], topology: Topology | None, findings: Sequence[Finding]) -> Iterator[Check]:
    """Everything that is said of the hosts together."""
    yield from _overlay(hosts, topology, findings)
    if topology is not None:
        for node in topology.nodes:
            yield from _mtu(hosts[node.name], topology)
        yield _overlay_mtus(hosts, topology)
    yield _underlay_mtus(hosts)
    yield from _macs(hosts)
    yield _machine_ids(hosts)
    yield _clocks(hosts)


def _overlay(hosts: Mapping[str, Host], topology: Topology | None, findings: Sequence[Finding]) -> Iterator[Check]:
    if not any(host.seen.tunnels() for host in hosts.values()):
        remedy = "pytest --hosts=... --provision   (for the length of a run)"
        yield Check("warning", ALL, "overlay", "none is set up: no host has a tunnel", remedy, at="")
        return
    for finding in findings:
        where = f"{finding.node} {finding.interface}".strip()
        found = f"{where}: {finding.summary} ({finding.evidence})"
        yield Check("problem", finding.node, f"overlay: {finding.code}", found, finding.remedy)
    if topology is not None and not findings:
        names = ", ".join(f"{node.name} {node.overlay.ip}" for node in topology.nodes)
        yield Check("ok", ALL, "overlay", f"{topology.options.kind} over {topology.bridge}: {names}")


def _devices(host: Host, topology: Topology) -> list[Device]:
    """The host's ends of the tunnels; on the hub also the bridge."""
    if host.role == topology.hub.name:
        names = [topology.bridge, *(tunnel.hub_device for tunnel in topology.tunnels)]
    else:
        names = [topology.tunnel_of(host.role).spoke_device]
    return [host.seen.devices[name] for name in names]


def _mtu(host: Host, topology: Topology) -> Iterator[Check]:
    """Whether what the overlay takes fits the NIC with what is put around it (MTU-01)."""
    nic = host.seen.devices.get(topology.node(host.role).nic)
    if nic is None:
        return
    overhead = int(overlay.kind(topology.options.kind).overhead(topology.options))
    expected = nic.mtu - overhead
    devices = _devices(host, topology)
    shown = f"{nic.name} {nic.mtu}, " + ", ".join(f"{device.name} {device.mtu}" for device in devices)
    large = [device.name for device in devices if device.mtu > expected]
    small = [device.name for device in devices if device.mtu < expected]
    if not large and not small:
        yield Check("ok", host.role, "MTU", f"{shown} ({overhead} less)")
        return
    remedy = " && ".join(f"sudo ip link set {name} mtu {expected}" for name in large or small)
    if large:
        found = f"{shown}: expected at most {expected} ({overhead} less): larger packets are lost or cut"
        yield Check("problem", host.role, "MTU", found, remedy)
        return
    found = f"{shown}: expected {expected} ({overhead} less); made before the NIC had its MTU, or on purpose?"
    yield Check("warning", host.role, "MTU", found, remedy)


def _overlay_mtus(hosts: Mapping[str, Host], topology: Topology) -> Check:
    """Whether every device of the overlay takes the same: a bridge drops what its next port cannot (MTU-05)."""
    by_size: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for node in topology.nodes:
        for device in _devices(hosts[node.name], topology):
            by_size[device.mtu].append((node.name, device.name))
    if len(by_size) == 1:
        return Check("ok", ALL, "overlay MTU", f"{next(iter(by_size))} on every host")
    least = min(by_size)
    found = "; ".join(
        f"{size} on " + ", ".join(f"{name} {device}" for name, device in ends) for size, ends in sorted(by_size.items())
    )
    remedy = "; ".join(
        f"on {name}: sudo ip link set {device} mtu {least}"
        for size, ends in sorted(by_size.items())
        for name, device in ends
        if size != least
    )
    expected = "expected the same everywhere: the hub drops larger frames without a word"
    return Check("problem", ALL, "overlay MTU", f"{found}; {expected}", remedy, at="")


def _underlay_mtus(hosts: Mapping[str, Host]) -> Check:
    sizes = {name: (host.nic.name, host.nic.mtu) for name, host in hosts.items() if host.nic}
    found = ", ".join(f"{name} {nic} {size}" for name, (nic, size) in sizes.items()) or "no host has a default route"
    if len({size for _, size in sizes.values()}) <= 1:
        return Check("ok", ALL, "underlay MTU", found)
    least = min(size for _, size in sizes.values())
    remedy = f"give every NIC the same, or every overlay device what fits the least ({least})"
    return Check("warning", ALL, "underlay MTU", f"{found}; expected the same", remedy, at="")


def _macs(hosts: Mapping[str, Host]) -> Iterator[Check]:
    """Whether every device of the overlay has a MAC address of its own (PRE-10)."""
    holders: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, host in hosts.items():
        tunnels = host.seen.tunnels()
        bridges = {device.master for device in tunnels if device.master}
        for device in [*tunnels, *(host.seen.devices[bridge] for bridge in sorted(bridges))]:
            holders[device.mac].append((name, device.name))
    twice = {mac: ends for mac, ends in holders.items() if len({name for name, _ in ends}) > 1}
    for mac, ends in twice.items():
        last, its_device = ends[-1]
        shown = " and ".join(f"{name} {device}" for name, device in ends)
        found = f"{shown} have the same, {mac}: unicast between them dies, broadcast does not"
        remedy = f"sudo ip link set {its_device} address {_fresh(hosts[last])}"
        yield Check("problem", last, "MAC address", found, remedy)
    if holders and not twice:
        yield Check("ok", ALL, "MAC address", f"{len(holders)} on the overlay, none on two hosts")


def _fresh(host: Host) -> str:
    """A locally administered address that no other host is given: made from its own on the underlay."""
    plain = next((address for name, address in host.seen.addresses if host.nic and name == host.nic.name), None)
    return "02:01:" + mac_of(plain.ip)[6:] if plain else "02:01:00:00:00:02"


def _machine_ids(hosts: Mapping[str, Host]) -> Check:
    """Whether the hosts are clones: systemd makes a device's MAC address from this and the device's name (PRE-10)."""
    holders: dict[str, list[str]] = defaultdict(list)
    for name, host in hosts.items():
        if host.details["machine_id"]:
            holders[host.details["machine_id"]].append(name)
    for names in holders.values():
        if len(names) > 1:
            found = f"{', '.join(names)} have the same: equal device names get equal MAC addresses there"
            remedy = "sudo rm /etc/machine-id && sudo systemd-machine-id-setup, then reboot"
            return Check("warning", ALL, "machine-id", found, remedy, at=names[-1])
    return Check("ok", ALL, "machine-id", "each host has its own")


def _clocks(hosts: Mapping[str, Host]) -> Check:
    """Whether the clocks agree as well as was measured."""
    first = next(iter(hosts.values()))
    off = {name: host.ahead - first.ahead for name, host in hosts.items()}
    sure = {name: abs(off[name]) - first.tolerance - host.tolerance for name, host in hosts.items()}
    worst = max(sure, key=lambda name: sure[name])
    if sure[worst] > CLOCKS:
        found = f"{worst} is {abs(off[worst]):.1f} s {'ahead of' if off[worst] > 0 else 'behind'} {first.role}"
        remedy = "sudo timedatectl set-ntp true"
        return Check("warning", worst, "clock", f"{found}, expected {CLOCKS:g} s at most", remedy)
    most = max(abs(value) for value in off.values())
    return Check("ok", ALL, "clock", f"they agree within {max(most, 0.001):.3f} s")
