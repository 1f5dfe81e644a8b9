"""
What a finding can lose: which packets, at which stage, at which place; nothing else is explained by it.

`codes.json` has it for each code; one without stages, kinds and marks may lose any packet at the leg on which its host,
or its tunnel, is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from lab.diagnose.codes import CODES, has
from lab.diagnose.losses import LARGE, Loss
from lab.diagnose.rules.host import candidates
from lab.diagnose.scene import Scene
from lab.model import Finding
from lab.probes.capture.paths import Stage
from lab.probes.deadlines import Flow, FlowKind
from lab.topology.graph import Tunnel
from lab.underlay.fabric import FABRIC

ON_A_TUNNEL: tuple[Stage, ...] = ("encapsulation", "cloud", "decapsulation")
UNDERLAY_STAGES: Mapping[Stage, Stage] = {"sending": "encapsulation", "delivery": "decapsulation"}
"""What passes a NIC in the same direction as a packet of the underlay at each stage."""
FRAGMENTED = "fragmented broadcast"
OF_SIZES = frozenset({kind for kinds in LARGE.values() for kind in kinds})
"""The kinds of exchanges that limits of sizes lose alone."""
ALIKE: tuple[FlowKind, ...] = ("unicast", "broadcast", "multicast", "membership")
"""Kinds of packets that are lost alike where packets are lost by chance."""


def can_lose(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether what a finding names can lose a packet of this kind, at this stage and in this place."""
    if not _concerns(scene, finding, loss):
        return False
    if _takes_carrier(scene, finding, loss) or _loses_another(scene, finding, loss):
        return True
    taken = _may_take(scene, finding, loss)
    return taken and can_lose_at_stage(scene, finding, loss) and _is_at(scene, finding, loss)


def can_lose_kind(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether what a finding names can lose a packet of this kind, wherever it is."""
    return _concerns(scene, finding, loss) and _may_take(scene, finding, loss)


def _concerns(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether a code is about packets of this kind and network."""
    code, host = CODES[finding.code], scene.hosts.get(finding.node)
    outer = has(finding, "neighbours") and host is not None and finding.interface == host.plan.nic
    if has(finding, "pings") and loss.protocol == candidates.ICMP:
        return finding.node == loss.receiver and bool(loss.exchange.to)  # an answer has no address
    of_size = code.kinds is not None and OF_SIZES.issuperset(code.kinds) and loss.large
    of_kind = code.kinds is None or not loss.kinds.isdisjoint(code.kinds) or outer or of_size
    inner = host is not None and finding.interface in scene.topology.devices(host.name)
    apart = inner and loss.exchange.network == "underlay"
    if inner and has(finding, "received") and loss.receiver != finding.node:
        return False
    return of_kind and not has(finding, "nothing") and not apart


def _may_take(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether the firewall's rule that a finding is about may take a packet that was lost at its host."""
    host = scene.hosts.get(finding.node)
    rules = [one for one in host.firewall if one.drops and one.quoted == finding.rule] if host else []
    if host is None or not rules or (loss.followed and loss.node != host.name and not loss.unresolved):
        return True
    if loss.followed and loss.stage == "cloud":
        return True
    packets = [*candidates.of_loss(scene, host, loss)]
    if not loss.followed:
        packets = [*candidates.at_stages(scene, host, loss, candidates.stages_at(host, loss))]
    if loss.unresolved:  # what resolves an address is carried by tunnels
        packets += [one for stage in candidates.CARRIED for one in candidates.carried(scene, host, stage)]
    return any(candidates.taken(host, rule, candidates.as_met(host, packets)) for rule in rules)


def can_lose_at_stage(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether what a finding names can lose a packet of any kind that it can lose at this stage."""
    under = UNDERLAY_STAGES.get(loss.stage, loss.stage) if loss.exchange.network == "underlay" else loss.stage
    stages = CODES[finding.code].stages
    if stages is not None and {loss.stage, under}.isdisjoint(stages) and not loss.unresolved and loss.followed:
        return False
    if finding.code == "default-ttl-low" and not scene.spends_ttl_of(scene.hosts[finding.node]):
        return False
    if has(finding, "routers") and not scene.trial.spent:
        return False
    if finding.code == "traffic-filtered" and _leaves(loss) == (finding.node, finding.interface):
        filters = scene.hosts[finding.node].readings.get("filters", ()) if finding.node in scene.hosts else ()
        directions = {one.direction for one in filters if one.dev == finding.interface}
        if directions == {"ingress"}:
            return False
    return not has(finding, "groups") or _is_of_groups(loss, scene.losses)


def unexplained(scene: Scene, findings: Collection[Finding]) -> list[Loss]:
    """The losses that are no finding's doing."""
    return [loss for loss in scene.losses if not any(can_lose(scene, one, loss) for one in findings)]


def lossy(scene: Scene, findings: Sequence[Finding]) -> Iterator[Flow]:
    """The ways on which some packets are lost by a finding: at any time by chance, of any kind that it can lose."""
    for loss in scene.losses:
        for finding in findings if not loss.whole and loss.exchange.kind in ALIKE else ():
            if has(finding, "groups") or not can_lose(scene, finding, loss):
                continue
            only = CODES[finding.code].kinds
            for kind in ALIKE:
                if only is None or kind in only:
                    yield Flow("overlay", kind, loss.exchange.sender, loss.receiver)


def _loses_another(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """
    Whether what was seen to arrive was of no use because of another packet that a finding can lose.

    A datagram lacks a fragment, as other packets of its way are lost; unicast is too late, as ARP is lost by chance.
    """
    kind, ends = loss.exchange.kind, (loss.exchange.sender, loss.receiver)
    if loss.stage != "delivery" or kind not in (FRAGMENTED, "unicast"):
        return False
    others = [one for one in scene.losses if one.exchange.kind not in (FRAGMENTED, "unicast")]
    ways = [(one, (one.exchange.sender, one.receiver)) for one in others if kind == FRAGMENTED or not one.whole]
    near = [one for one, way in ways if way == ends or (kind == "unicast" and way == ends[::-1])]
    return any(can_lose(scene, finding, one) for one in near)


def _is_of_groups(loss: Loss, losses: Collection[Loss]) -> bool:
    """Whether a group's datagram is lost where broadcast is not: what loses both has another cause."""
    alike = {_end(one) for one in losses if one.exchange.kind == "broadcast"}
    is_group = loss.exchange.kind in ("multicast", "full-size multicast", "group")
    return is_group and _end(loss) not in alike


def _leaves(loss: Loss) -> tuple[str, str]:
    """The interface by which a packet was to leave a host, and did not; it did not wait for an answer of ARP."""
    leaving = loss.missing.outgoing and not loss.unresolved
    return (loss.missing.node, loss.missing.interface) if leaving else ("", "")


def _end(loss: Loss) -> tuple[str, ...]:
    return loss.exchange.sender, loss.receiver, loss.missing.node, loss.missing.interface, loss.stage


def _is_at(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether a finding is on the leg on which a packet was lost, or may lose it from elsewhere."""
    node, interface, sender = finding.node, finding.interface, loss.exchange.sender
    if has(finding, "kernel"):
        return True
    if has(finding, "passed-on") and node == loss.receiver != loss.node and not loss.unresolved:
        return False  # the packet did not come as far as what changes it
    if has(finding, "astray") and loss.exchange.kind == "unicast":
        return True
    if has(finding, "sent") and node == sender:
        return True
    if has(finding, "passed-on") and node in scene.on_paths(sender, loss.receiver) - {loss.receiver}:
        return True
    if has(finding, "pruning") and loss.stage == "forwarding":
        return True
    if has(finding, "arriving"):
        return False
    late = has(finding, "late") and loss.stage == "delivery"
    if late or loss.unresolved:  # or ARP was lost, somewhere between the two
        return node not in scene.hosts or node in scene.on_paths(sender, loss.receiver)
    ends = {(place.node, place.interface) for place in (loss.last, loss.missing) if place is not None}
    if loss.stage in ON_A_TUNNEL and (tunnel := _tunnel(scene, loss)):
        ends |= {(end.host, end.device) for end in tunnel.ends}
    if node not in scene.hosts and scene.topology.native:
        return interface in ("", sender, loss.receiver)
    if node not in scene.hosts:
        within = loss.inside.node if loss.inside else node
        ports = {"", FABRIC, loss.inside.interface if loss.inside else "", *(host for host, _ in ends)}
        return loss.stage in ("encapsulation", "cloud") and (node == within != FABRIC or interface in ports)
    if interface in scene.topology.ports(node):
        passed_on = has(finding, "passed-on") and node == loss.node
        return (node, interface) in ends or passed_on
    return node in {host for host, _ in ends}


def _takes_carrier(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether a finding is at a port of a bridge that has no carrier, so that its host sends nothing through it."""
    host, device = scene.hosts.get(finding.node), loss.missing.interface
    if host is None or loss.stage != "sending" or loss.missing.node != host.name or device not in host.seen.devices:
        return False
    return not host.seen.device(device).carrier and finding.interface in scene.topology.ports(host.name)


def _tunnel(scene: Scene, loss: Loss) -> Tunnel | None:
    """The tunnel that a packet was in, or was to get into, when it was lost."""
    if loss.last is not None and loss.stage == "cloud":
        pair = {loss.last.node, loss.missing.node}
        return next((one for one in scene.topology.tunnels if {end.host for end in one.ends} == pair), None)
    place = loss.missing if loss.stage == "decapsulation" else loss.last
    at = (place.node, place.interface) if place else None
    return next((one for one in scene.topology.tunnels if at in {(end.host, end.device) for end in one.ends}), None)
