"""Rules of routing tables: what is asked before the main one, what the kernel itself holds, devices with their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from lab.diagnose.scene import HostScene, Scene
from lab.model import MULTICAST, Finding, Network
from lab.overlay import commands
from lab.overlay.readback import ROUTE_TYPES, destination

TABLES = (253, 254, 255)  # default, main, local
NO_LIMIT = 0xFFFFFFFF  # of prefixes whose routes do not count
LOOKUP = 1  # FR_ACT_TO_TBL of linux/fib_rules.h
SELECTORS = {"FRA_IIFNAME": "iif", "FRA_OIFNAME": "oif", "FRA_FWMARK": "fwmark"}
ACTIONS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}  # linux/fib_rules.h
KERNELS = 2  # RTPROT_KERNEL: what goes with an address
TYPES = {2: "local ", 4: "anycast ", 5: "multicast ", **{number: f"{name} " for number, name in ACTIONS.items()}}
NETWORKS: tuple[Network, ...] = ("overlay", "underlay")
MAIN_PRIORITY = 32766
SOME_GROUP = "239.1.1.1"
BROADCAST_ROUTE, LOCAL_ROUTE, LOCAL_TABLE, MAIN_TABLE = 3, 2, 255, 254


def policy(scene: Scene) -> Iterator[Finding]:
    """Policy rules besides the kernel's own, where something was not sent."""
    unsent = {loss.node for loss in scene.losses if loss.stage in ("sending", "encapsulation")}
    # what a rule sends another way leaves the host, and does not get to the other one
    unsent |= {loss.last.node for loss in scene.losses if loss.stage == "cloud" and loss.last}
    unsent |= {exchange.sender for exchange in scene.trial.exchanges if exchange.refused}
    for host in scene.hosts.values():
        rules = [rule for rule in host.readings["rules"] if rule["family"] == 2]
        found = policy_rules(scene, host)
        main = any(_usual(rule) and _table(rule) == MAIN_TABLE for rule in rules)
        if rules and not any(_first(rule) and _table(rule) == LOCAL_TABLE for rule in rules):
            yield Finding(
                "local-table-unused",
                host.name,
                "",
                f"no routing rule of {host.name} leads to its table `local` first: what comes in is for nobody there",
                "no rule `0: from all lookup local`",
                "ip rule add priority 0 lookup local",
                ("PRE-12",),
            )
        if rules and not main:
            yield Finding(
                "main-table-unused",
                host.name,
                "",
                f"no routing rule of {host.name} leads to its main table: its routes count for nothing",
                f"{len(rules)} rules, none of them `lookup main`",
                "ip rule add priority 32766 lookup main",
                ("PRE-12",),
            )
        if found and (scene.planned or host.name in unsent):
            yield Finding(
                "policy-rule",
                host.name,
                "",
                f"{host.name} has a routing rule that comes before its main table",
                "; ".join(f"ip rule: {_selectors(rule)}" for rule in found),
                " && ".join(f"ip rule del {_selectors(rule)}" for rule in found),
                ("PRE-12",),
            )


def policy_rules(scene: Scene, host: HostScene) -> list[Mapping[str, Any]]:
    """The rules of a host that take what it sends on the overlay, or its tunnel packets, another way."""
    return [
        rule
        for rule in host.readings["rules"]
        if rule["family"] == 2
        and not _usual(rule)
        and _concerns(scene, host, rule)
        and _leads_astray(scene, host, rule)
    ]


def _networks(scene: Scene) -> list[IPv4Network]:
    """Where what is sent on the overlay goes, and where tunnel packets go."""
    plans = [each.plan for each in scene.hosts.values()]
    return [MULTICAST, *(network for plan in plans for network in (plan.overlay.network, plan.underlay.network))]


@dataclass(frozen=True)
class _Packet:
    """What decides the way of a packet that a host sends: `source` and `device` only where something chooses them."""

    to: IPv4Address
    source: IPv4Address | None = None
    device: str | None = None


def _leads_astray(scene: Scene, host: HostScene, rule: Mapping[str, Any]) -> bool:
    """Whether a rule leads anything that the overlay needs another way than the main table does."""
    if rule.get("action", LOOKUP) != LOOKUP:
        return True
    table = _table(rule)
    return table not in TABLES and any(
        _matches(rule, packet) and _diverts(host, table, packet) for packet in _packets(scene, host)
    )


def _matches(rule: Mapping[str, Any], packet: _Packet) -> bool:
    for address, name, length in ((packet.to, "FRA_DST", "dst_len"), (packet.source, "FRA_SRC", "src_len")):
        if rule.get(length):
            network = IPv4Network(f"{rule[name]}/{rule[length]}", strict=False)
            if address is None or address not in network:
                return False
    return True


def _packets(scene: Scene, host: HostScene) -> Iterator[_Packet]:
    """One packet of everything that a host sends on the overlay, and to the other ends of its tunnels."""
    others = [other.plan.overlay.ip for other in scene.hosts.values() if other is not host]
    for to in (IPv4Address(SOME_GROUP), host.plan.overlay.network.broadcast_address, *others):
        yield from (_Packet(to), _Packet(to, host.plan.overlay.ip))
    for device in host.seen.tunnels():
        end = device.tunnel
        if end and end.remote and ":" not in end.remote:
            yield _Packet(IPv4Address(end.remote), IPv4Address(end.local) if end.local else None, end.link)


def _diverts(host: HostScene, table: int, packet: _Packet) -> bool:
    """Whether a table has a route for a packet that is not the main table's; without one, the main table decides."""
    matching = [
        route
        for route in host.readings["routes"]
        if route["family"] == 2
        and route.get("RTA_TABLE", route["table"]) == table
        and packet.to in destination(route)
        and packet.device in (None, host.names.get(route.get("RTA_OIF", 0)))
    ]
    route = max(matching, key=lambda one: (one["dst_len"], -int(one.get("RTA_PRIORITY") or 0)), default=None)
    if route is None or ROUTE_TYPES.get(route["type"]) == "throw":
        return False
    usual = host.seen.route_to(str(packet.to))
    found = (ROUTE_TYPES.get(route["type"]), host.names.get(route.get("RTA_OIF", 0)), route.get("RTA_GATEWAY"))
    return usual is None or found != (usual.type, usual.device, usual.via)


def _concerns(scene: Scene, host: HostScene, rule: Mapping[str, Any]) -> bool:
    """Whether a rule can match what is sent on the overlay, or carries it."""
    networks = _networks(scene)
    for address, length in (("FRA_SRC", "src_len"), ("FRA_DST", "dst_len")):
        if rule.get(length) and not _overlaps(IPv4Network(f"{rule[address]}/{rule[length]}", strict=False), networks):
            return False
    devices = {"lo", host.plan.nic, host.plan.device}
    return {rule.get("FRA_IIFNAME"), rule.get("FRA_OIFNAME")} <= {None, *devices} and not rule.get("FRA_FWMARK")


def _overlaps(network: IPv4Network, others: Iterable[IPv4Network]) -> bool:
    return any(network.overlaps(other) for other in others)


def _usual(rule: Mapping[str, Any]) -> bool:
    """Whether it sends everything to a table of the kernel's own, or is the kernel's for its VRFs."""
    picky = rule.get("src_len") or rule.get("dst_len") or any(rule.get(name) for name in SELECTORS)
    picky = picky or rule.get("FRA_SUPPRESS_PREFIXLEN", NO_LIMIT) != NO_LIMIT
    vrf = rule.get("FRA_L3MDEV")
    return bool(vrf) or (not picky and _table(rule) in TABLES)


def _table(rule: Mapping[str, Any]) -> int:
    return int(rule.get("FRA_TABLE") or rule.get("table") or 0)


def _first(rule: Mapping[str, Any]) -> bool:
    return _usual(rule) and (rule.get("FRA_PRIORITY") or 0) < MAIN_PRIORITY


def _selectors(rule: Mapping[str, Any]) -> str:
    """A rule as ip-rule(8) takes it to delete it: what it matches, and what it does."""
    words = [f"priority {rule.get('FRA_PRIORITY') or 0}"]
    words += [f"from {rule['FRA_SRC']}/{rule['src_len']}"] if rule.get("src_len") else []
    words += [f"to {rule['FRA_DST']}/{rule['dst_len']}"] if rule.get("dst_len") else []
    words += [f"{word} {rule[name]}" for name, word in SELECTORS.items() if rule.get(name)]
    words += [f"tos {rule['tos']:#x}"] if rule.get("tos") else []
    action = ACTIONS.get(rule.get("action", 0))
    return " ".join([*words, action or f"table {_table(rule)}"])


def own(scene: Scene) -> Iterator[Finding]:
    """The kernel takes what is for a host's own addresses and their broadcast addresses (its table `local`)."""
    for host in scene.hosts.values():
        for device, interface in ((host.plan.device, host.plan.overlay), (host.plan.nic, host.plan.underlay)):
            found = host.seen.devices.get(device)
            if found is None or not found.up or found.master or interface not in host.seen.addresses_of(device):
                continue
            held = {
                (route.get("RTA_DST"), route["type"])
                for route in host.readings["routes"]
                if route.get("RTA_TABLE", route["table"]) == LOCAL_TABLE
            }
            address, everybody = str(interface.ip), str(interface.network.broadcast_address)
            missing = []
            if (address, LOCAL_ROUTE) not in held:
                missing.append(f"local {address} dev {device} scope host src {address}")
            if (everybody, BROADCAST_ROUTE) not in held and device == host.plan.device:
                missing.append(f"broadcast {everybody} dev {device} scope link src {address}")
            if missing:
                yield Finding(
                    "local-route-missing",
                    host.name,
                    device,
                    f"{host.name} does not take what is for {' and '.join(route.split()[1] for route in missing)}, "
                    f"which {device} has",
                    f"its table `local` has no {' and no '.join(route.split()[0] for route in missing)} route of it",
                    " && ".join(f"ip route add {route} table local proto kernel" for route in missing),
                    ("BCAST-01", "PRE-12"),
                )


def foreign(scene: Scene) -> Iterator[Finding]:
    """The kernel's table `local`, which is asked first, takes nothing of the overlay for itself, or away."""
    for host in scene.hosts.values():
        others = [other.plan for other in scene.hosts.values() if other is not host]
        far = [IPv4Network(plan.address(of)) for plan in others for of in NETWORKS]
        for route in host.readings["routes"]:
            if route.get("RTA_TABLE", route["table"]) != LOCAL_TABLE or route["proto"] == KERNELS:
                continue
            if not route["dst_len"] or route["type"] == BROADCAST_ROUTE:
                continue
            to = destination(route)
            if not _overlaps(to, (MULTICAST, *far)):
                continue
            name = host.names.get(route.get("RTA_OIF", 0), "")
            said = f"{TYPES.get(route['type'], '')}{to}" + (f" dev {name}" if name else "")
            yield Finding(
                "local-route-foreign",
                host.name,
                host.plan.device,
                f"{host.name} keeps what is for {to} from the overlay, by a route of its table `local`",
                f"ip route: {said} table local",
                f"ip route del {said} table local",
                ("MCAST-01", "PRE-12"),
            )


def vrf(scene: Scene) -> Iterator[Finding]:
    """NIC and overlay device are in no VRF: what is there, sockets of no VRF and tunnels outside do not see."""
    for host in scene.hosts.values():
        for name in (host.plan.nic, host.plan.device):
            device = host.seen.devices.get(name)
            if device is None or not in_vrf(host, name):
                continue
            gateway = host.plan.underlay.network.network_address + 1
            lost = f"ip route replace default via {gateway} dev {name}" if scene.planned else ""
            again = lost if name == host.plan.nic else commands.route(scene.topology, host.plan)
            yield Finding(
                "device-in-vrf",
                host.name,
                name,
                f"{name} of {host.name} is in the VRF {device.master}: programs outside of it have no way there",
                f"master {device.master}",
                " && ".join(filter(None, (f"ip link set {name} nomaster", again))),
                ("PRE-12", "BCAST-01"),
            )


def in_vrf(host: HostScene, name: str) -> bool:
    """Whether a device of a host is in a VRF."""
    device = host.seen.devices.get(name)
    master = host.seen.devices.get(device.master or "") if device is not None else None
    return master is not None and master.kind == "vrf"


RULES = (vrf, policy, own, foreign)
