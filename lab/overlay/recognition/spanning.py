"""
Two hubs with STP: which hosts they are, by the tunnels between the hosts and by the root of STP.

    hub bridge0 (the root) ==== bridge0 hub2        each spoke: a bridge with STP over a tunnel to either hub
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from lab.overlay.recognition.readback import ConfiguredHosts, Device

LeadingDevices = Mapping[tuple[str, str], Sequence[Device]]
"""All devices of a host that lead to another, by both names."""
DEFAULT_PRIORITY = 32768  # of a bridge (IEEE 802.1D 17.14)


def hubs(hosts: ConfiguredHosts, found: LeadingDevices) -> tuple[str, ...]:
    """Both hubs, STP's root first; empty where the hosts are none that STP runs on, or none that are understood."""
    pair = _pair(hosts, found, bridges := _bridges(hosts, found))
    return pair if pair and not next(_reasons(found, pair, bridges), "") else ()


def unsupported(hosts: ConfiguredHosts, found: LeadingDevices) -> str:
    """Why hosts that bridge several tunnels with STP are not understood; empty where there are none."""
    bridges = _bridges(hosts, found)
    if len(bridges) < 2:
        return ""
    pair = _pair(hosts, found, bridges)
    names = " and ".join(f"{name} {device.name}" for name, device in bridges.items())
    expected = "two hubs that a tunnel joins, and on each other host a tunnel to both"
    return (
        next(_reasons(found, pair, bridges), "") if pair else f"{names} run STP over several tunnels each; {expected}"
    )


def _bridges(hosts: ConfiguredHosts, found: LeadingDevices) -> dict[str, Device]:
    """By host, its bridge with STP over tunnels to several others; two or more forward between them."""
    made: dict[str, Device] = {}
    forwarding = set()
    for name, seen in hosts.items():
        for bridge in seen.devices.values():
            ports = [
                (peer, device)
                for (host, peer), devices in found.items()
                for device in devices
                if host == name and device.master == bridge.name
            ]
            split = any(port.flag("isolated") for _, port in ports)
            if bridge.details.get("stp_state") and len({peer for peer, _ in ports}) > 1:
                made[name] = bridge
                forwarding |= set() if split else {name}
    # spokes of two hubs may have isolated ports; where no two forward, it is a mesh
    return made if len(forwarding) > 1 else {name: made[name] for name in forwarding}


def _pair(hosts: ConfiguredHosts, found: LeadingDevices, bridges: Mapping[str, Device]) -> tuple[str, ...]:
    """Two hosts that are joined, that every tunnel ends at, and that other bridges with STP lead to both."""
    joined = {frozenset(ends) for ends in found}
    fitting = []
    for pair in combinations(hosts, 2):
        others = [name for name in bridges if name not in pair]
        both = [name for name in others if {frozenset((name, hub)) for hub in pair} <= joined]
        if both and frozenset(pair) in joined and all(set(pair) & ends for ends in joined):
            fitting.append(pair)
    ranked = sorted((_rank(hosts, bridges, pair), pair) for pair in fitting)
    if not ranked or [rank for rank, _ in ranked].count(ranked[0][0]) > 1:
        return ()
    return tuple(sorted(ranked[0][1], key=lambda name: (not _is_root(bridges.get(name)), _priority(bridges.get(name)))))


def _rank(hosts: ConfiguredHosts, bridges: Mapping[str, Device], pair: Sequence[str]) -> tuple[int, int]:
    """The least of those two whose bridges have most tunnels as ports, then of those with the least priorities."""
    ports = sum(device.master is not None for name in pair for device in hosts[name].tunnels())
    return -ports, sum(_priority(bridges.get(name)) for name in pair)


def _reasons(found: LeadingDevices, pair: tuple[str, ...], bridges: Mapping[str, Device]) -> Iterator[str]:
    """Why STP does not use the first hub: then packets take other paths than tests expect."""
    roots = [name for name, device in bridges.items() if _is_root(device)]
    if not set(roots) & set(pair):
        there = f"{roots[0]} {bridges[roots[0]].name}" if roots else "another host"
        yield f"the root of STP is {there}; expected a bridge of {' or '.join(pair)}, to which the others have tunnels"
    for name in bridges.keys() - set(pair):
        for device in found.get((name, pair[0]), ()):
            if device.port and device.port.state == "blocking":
                yield f"{name} blocks {device.name}, its tunnel to {pair[0]}, STP's root; expected that to {pair[1]}"


def _is_root(bridge: Device | None) -> bool:
    return bridge is not None and bridge.details.get("root_id") == bridge.details.get("bridge_id")


def _priority(bridge: Device | None) -> int:
    return int(bridge.details.get("priority", DEFAULT_PRIORITY)) if bridge else DEFAULT_PRIORITY
