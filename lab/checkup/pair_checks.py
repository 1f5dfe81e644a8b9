"""What live hosts need of each other: an overlay, MTUs, machine-ids that differ, clocks that agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from lab import tunnels
from lab.checkup.check import Check
from lab.checkup.live_host import ALL, LiveHost
from lab.model import Finding, Topology

CLOCKS = 1.0
"""Seconds that clocks may differ by: captures of several hosts are put in order by them."""


def checks(hosts: Mapping[str, LiveHost], topology: Topology | None, findings: Sequence[Finding]) -> Iterator[Check]:
    """Every check of the hosts together, in addition to the overlay's own findings."""
    if not any(host.seen.leading() for host in hosts.values()):
        remedy = "pytest --hosts=... --provision   (for the length of a run)"
        yield Check("warning", ALL, "overlay", "none is set up: no host has a tunnel", remedy, at="")
    elif topology is not None:
        yield from _overlay(hosts, topology, findings)
    yield _underlay_mtus(hosts)
    yield _machine_ids(hosts)
    yield _clocks(hosts)


def _overlay(hosts: Mapping[str, LiveHost], topology: Topology, findings: Sequence[Finding]) -> Iterator[Check]:
    """What was recognised as the overlay; whether it leaves room on the NICs that it could use (MTU-01)."""
    if not findings:
        names = ", ".join(f"{node.name} {node.overlay.ip}" for node in topology.nodes)
        what = f"over {topology.bridge}" if topology.hubs else f"as a {topology.name}"
        yield Check("ok", ALL, "overlay", f"{topology.options.kind} {what}: {names}")
    nics = [hosts[node.name].seen.devices.get(node.nic) for node in topology.nodes]
    mtu = min(hosts[node.name].seen.devices[node.device].mtu for node in topology.hubs or topology.nodes)
    overhead = tunnels.kind(topology.options.kind).overhead(topology.options)
    room = min((nic.mtu for nic in nics if nic), default=0) - overhead
    if any(finding.code == "mtu-mismatch" for finding in findings):
        return
    if mtu < room:
        found = f"{mtu}; the NICs leave {room} ({overhead} less than theirs): larger packets are fragmented"
        yield Check("warning", ALL, "MTU", found)
    else:
        yield Check("ok", ALL, "MTU", f"{mtu}, as the NICs leave ({overhead} less than theirs)")


def _underlay_mtus(hosts: Mapping[str, LiveHost]) -> Check:
    sizes = {name: (host.nic.name, host.nic.mtu) for name, host in hosts.items() if host.nic}
    found = ", ".join(f"{name} {nic} {size}" for name, (nic, size) in sizes.items()) or "no host has a default route"
    if len({size for _, size in sizes.values()}) <= 1:
        return Check("ok", ALL, "underlay MTU", found)
    least = min(size for _, size in sizes.values())
    remedy = f"give every NIC the same, or every overlay device what fits the least ({least})"
    return Check("warning", ALL, "underlay MTU", f"{found}; expected the same", remedy, at="")


def _machine_ids(hosts: Mapping[str, LiveHost]) -> Check:
    """Whether the hosts are clones: systemd makes a device's MAC address from this and the device's name (PRE-10)."""
    holders: dict[str, list[str]] = defaultdict(list)
    for name, host in hosts.items():
        holders[host.details["machine_id"] or ""].append(name)
    without = holders.pop("", [])
    for names in holders.values():
        if len(names) > 1:
            found = f"{', '.join(names)} have the same: equal device names get equal MAC addresses there"
            remedy = "sudo rm /etc/machine-id && sudo systemd-machine-id-setup, then reboot"
            return Check("warning", ALL, "machine-id", found, remedy, at=names[-1])
    if not holders:
        return Check("ok", ALL, "machine-id", "no host has one (/etc/machine-id): no MAC address is made from it")
    if without:
        have = "has" if len(without) == 1 else "have"
        return Check("ok", ALL, "machine-id", f"{', '.join(without)} {have} none; the others differ")
    return Check("ok", ALL, "machine-id", "each host has its own")


def _clocks(hosts: Mapping[str, LiveHost]) -> Check:
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
