"""Rules of routing tables: what is asked before the main one, what the kernel itself holds, devices with their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from lab import tunnels
from lab.diagnose.rules.host.basics import LOOPBACK
from lab.diagnose.scene import HostScene, Scene
from lab.model import MULTICAST, Finding, Network
from lab.stack.records import LOCAL_TABLE, MAIN_TABLE, Route, Rule

TABLES = (253, 254, 255)  # default, main, local
NETWORKS: tuple[Network, ...] = ("overlay", "underlay")
MAIN_PRIORITY = 32766
SOME_GROUP = "239.1.1.1"
WHOLE_MARK = 0xFFFFFFFF
TCP = 6


def policy(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Policy rules in addition to the kernel's own, where a packet was not sent."""
    unsent = {loss.node for loss in scene.losses if loss.stage in ("sending", "encapsulation")}
    # what a rule sends another way leaves the host, and does not get to the other one
    unsent |= {loss.last.node for loss in scene.losses if loss.stage == "cloud" and loss.last}
    unsent |= {exchange.sender for exchange in scene.trial.exchanges if exchange.refused}
    rules = [rule for rule in host.readings["rules"] if rule.family == "inet"]
    found = _taking(scene, host, rules, ports=host.name in unsent)
    usual = [rule for rule in rules if _usual(rule)]
    if rules and not any(rule.table == LOCAL_TABLE and rule.priority < MAIN_PRIORITY for rule in usual):
        yield host.declared("local-table-unused", "")
    if rules and not any(rule.table == MAIN_TABLE for rule in usual):
        yield host.declared("main-table-unused", "", count=len(rules))
    if found and (scene.planned or host.name in unsent):
        listed = "; ".join(f"ip rule: {rule.selectors}" for rule in found)
        fix = " && ".join(f"ip rule del {rule.selectors}" for rule in found)
        yield host.declared("policy-rule", "", listed, fix)


def _taking(scene: Scene, host: HostScene, rules: Sequence[Rule], *, ports: bool) -> list[Rule]:
    """
    The rules of a host that take what it sends on the overlay, or its tunnel packets, another way.

    `ports`: those about an application's port too.
    """
    if scene.trial.streams and not any(stream.refused for stream in scene.trial.streams):
        rules = [rule for rule in rules if rule.ipproto != TCP or rule.inverted]
    set_to = [one.values or () for rule in host.firewall if rule.hits != 0 for one in rule.sets("mark")]
    marks = {mark for values in set_to for mark, _ in values}
    marks |= {device.details["fwmark"] for device in host.seen.tunnels() if device.details.get("fwmark")}
    found = []
    named = {int(rule.dport.partition("-")[0]) for rule in rules if rule.dport and ports}
    for packet in (replace(each, port=port or each.port) for each in _packets(scene, host) for port in (0, *named)):
        for mark in (0, *marks):
            rule = _astray(host, rules, replace(packet, mark=mark))
            if rule is not None and rule not in found:
                found.append(rule)
    return found


@dataclass(frozen=True)
class _Packet:
    """What decides the way of a packet: `source` and `device` only where something chooses them."""

    to: IPv4Address
    source: IPv4Address | None = None
    device: str | None = None
    incoming: str = LOOPBACK
    mark: int = 0
    port: int = 0
    """Of tunnel packets that have one; no rule about other ports is taken for one about the overlay."""


def _packets(scene: Scene, host: HostScene) -> Iterator[_Packet]:
    """One packet of everything that a host sends on the overlay, and to the other ends of its tunnels, or receives."""
    plan = host.plan
    others = [other.plan.overlay.ip for other in scene.hosts.values() if other is not host]
    for to in (IPv4Address(SOME_GROUP), plan.overlay.network.broadcast_address, *others):
        yield from (_Packet(to), _Packet(to, plan.overlay.ip), _Packet(to, plan.overlay.ip, plan.device))
    for device in host.seen.tunnels():
        end = device.tunnel
        if end and end.remote and ":" not in end.remote:
            local = IPv4Address(end.local) if end.local else None
            port = tunnels.kind(scene.topology.options.kind).port or 0
            yield from (_Packet(IPv4Address(end.remote), local, link, port=port) for link in {end.link, plan.nic})
    yield _Packet(plan.overlay.ip, incoming=plan.device)
    yield _Packet(plan.underlay.ip, incoming=plan.nic)


def _astray(host: HostScene, rules: Sequence[Rule], packet: _Packet) -> Rule | None:
    """The rule by which a packet takes another path than by the kernel's own rules, in their order."""
    after = 0
    for rule in rules:
        if rule.priority < after or rule.action == "nop" or not _matches(rule, packet):
            continue
        if rule.action == "goto":
            after = rule.goto or 0
            continue
        if rule.action != "lookup":
            return rule
        route = _route_of(host, rule, packet)
        if route is None or route.type == "throw":
            continue
        usual, local = host.seen.route_to(str(packet.to)), rule.table == LOCAL_TABLE
        asked = any(one.table == LOCAL_TABLE for one in rules)  # `local-table-unused` reports that it is not
        if not local and asked and packet.to in {one.to.network_address for one in _own(host)}:
            return rule  # before the table that takes what is for the host
        last = rule.priority > MAIN_PRIORITY  # the kernel's own, of the table `default`
        own = local or rule.table == MAIN_TABLE or rule.l3mdev or last
        same = usual is not None and (route.type, route.dev, route.via) == (usual.type, usual.dev, usual.via)
        return None if own or same else rule
    return None


def _matches(rule: Rule, packet: _Packet) -> bool:
    """Whether a rule matches a packet of root, whatever the protocol or the TOS that it names."""
    if not (rule.uidrange or "0").startswith("0"):
        return rule.inverted
    if (rule.sport or rule.dport) and not _within(packet.port, rule.dport):
        return False
    own = all(
        network is None or (address is not None and address in network)
        for address, network in ((packet.to, _network(rule.dst)), (packet.source, _network(rule.src)))
    )
    own = own and rule.iif in (None, packet.incoming) and rule.oif in (None, packet.device)
    if rule.fwmark is not None:
        own = own and packet.mark & (rule.fwmask or WHOLE_MARK) == rule.fwmark
    return own != rule.inverted


def _within(port: int, ports: str | None) -> bool:
    first, _, last = (ports or "").partition("-")
    return bool(first) and int(first) <= port <= int(last or first)


def _network(prefix: str | None) -> IPv4Network | None:
    """What a rule matches; None: everything."""
    network = IPv4Network(prefix or "0.0.0.0/0", strict=False)
    return network if network.prefixlen else None


def _route_of(host: HostScene, rule: Rule, packet: _Packet) -> Route | None:
    """The route that the table of a rule has for a packet."""
    matching = [
        route
        for route in _routes(host)
        # a route that refuses has no device, and refuses on each
        if route.table == rule.table and packet.to in route.to and {packet.device, route.dev} & {None, packet.device}
    ]
    route = max(matching, key=lambda one: (one.prefixlen, -one.metric), default=None)
    least = rule.suppress_prefixlength
    return None if route is None or (least is not None and route.prefixlen <= least) else route


def _own(host: HostScene) -> list[Route]:
    """What the kernel takes for itself: its addresses, and those of broadcast."""
    return [route for route in _routes(host) if route.table == LOCAL_TABLE and route.proto == "kernel"]


def _routes(host: HostScene) -> list[Route]:
    return [route for route in host.readings["routes"] if route.family == "inet"]


def _usual(rule: Rule) -> bool:
    """Whether it sends everything to a table of the kernel's own, or is the kernel's for its VRFs."""
    picky = _network(rule.src) or _network(rule.dst)
    plain = replace(rule, src=None, dst=None) == Rule(rule.family, rule.priority, rule.table)
    return rule.l3mdev or (not picky and plain and rule.table in TABLES)


def own(host: HostScene) -> Iterator[Finding]:
    """The kernel takes what is for a host's own addresses and their broadcast addresses (its table `local`)."""
    for device, interface in ((host.plan.device, host.plan.overlay), (host.plan.nic, host.plan.underlay)):
        found = host.seen.devices.get(device)
        if found is None or not found.up or found.master or interface not in host.seen.addresses_of(device):
            continue
        every = [route for route in _routes(host) if route.table == LOCAL_TABLE]
        held = {(route.dst, route.dev if route.type == "broadcast" else route.type) for route in every}
        address, broadcast = str(interface.ip), str(interface.network.broadcast_address)
        missing = []
        if (f"{address}/32", "local") not in held:
            missing.append(f"local {address} dev {device} scope host src {address}")
        if (f"{broadcast}/32", device) not in held and device == host.plan.device:
            missing.append(f"broadcast {broadcast} dev {device} scope link src {address}")
        if missing:
            again = " && ".join(f"ip route replace {route} table local proto kernel" for route in missing)
            yield host.declared("local-route-missing", device, fix=again, routes=" and ".join(missing))


def foreign(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The kernel's table `local`, which is asked first, takes nothing of the overlay for itself, or away."""
    others = [other.plan for other in scene.hosts.values() if other is not host]
    taken = [MULTICAST, *(IPv4Network(plan.address(of)) for plan in others for of in NETWORKS)]
    for route in _routes(host):
        if route.table != LOCAL_TABLE or route.proto == "kernel":
            continue
        if not route.prefixlen or route.type == "broadcast" or not any(map(route.to.overlaps, taken)):
            continue
        yield host.declared("local-route-foreign", host.plan.device, route=route.selectors)
