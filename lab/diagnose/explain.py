"""
Explains what is wrong with an overlay: from one trial and the state of its hosts to findings.

    for finding in explain(scene.gather(lab)):
        print(finding.node, finding.summary, finding.remedy)

Every rule runs; findings at the places of losses come first.  A loss that no rule explains is reported
as the place where it ended: no guess.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from lab.diagnose import rules
from lab.diagnose.codes import declared, has
from lab.diagnose.effects import OF_SIZES, can_lose, lossy, unexplained
from lab.diagnose.losses import Loss
from lab.diagnose.safe_fixes import careful
from lab.diagnose.scene import HostScene, Scene
from lab.errors import NotApplicable
from lab.model import Finding
from lab.probes.deadlines import Flow

BY_ITS_DROPS = frozenset({"tunnel-packets-dropped", "firewall-drops"})
"""What a firewall's rule is called that is known by its counter alone."""

HOSTS: Mapping[str, Callable[[Scene], Iterable[HostScene | None]]] = {
    "host": lambda scene: scene.hosts.values(),
    "bridging": lambda scene: scene.bridging,
    "spoke": lambda scene: scene.spokes,
    "hub": lambda scene: [scene.hub],
}
"""The hosts for each of which a rule runs, by the parameter that it takes."""

AFTER = ("found", "causes")
"""The parameters of rules that run after others, for what these have found."""
YIELDS = "Iterator[Finding]"
"""The annotation of what a rule returns."""

RuleFunction = Callable[..., Iterable[Finding]]


@functools.cache
def known(after: str = "") -> tuple[RuleFunction, ...]:
    """Every rule (`rules`), by the names of their modules: those that take no findings, or take these."""
    names = [module.name for module in pkgutil.walk_packages(rules.__path__, f"{rules.__name__}.")]
    modules = [importlib.import_module(name) for name in sorted(names, key=lambda name: name.rpartition(".")[2])]
    public = [one for module in modules for name, one in vars(module).items() if not name.startswith("_")]
    found = dict.fromkeys(one for one in public if getattr(one, "__annotations__", {}).get("return") == YIELDS)
    return tuple(one for one in found if after == next((name for name in AFTER if name in one.__annotations__), ""))


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a lab, and the ways on which everything was lost."""

    findings: tuple[Finding, ...] = ()
    lost: frozenset[Flow] = frozenset()
    lossy: frozenset[Flow] = frozenset()
    """The ways on which a finding explains that some packets are lost and others are not."""
    scene: Scene | None = None
    """What was examined."""


def diagnose(scene: Scene) -> Diagnosis:
    """The findings, and the losses that the trial showed, for later waits."""
    dead = {
        way
        for one in scene.trial.exchanges
        if (one.network, one.kind) != ("underlay", "broadcast") and (not one.refused or one.kind == "unicast")
        for way in one.silent
    }
    findings = causes(scene)
    places = whereabouts(scene, findings)
    return Diagnosis((*findings, *places), frozenset(dead), frozenset(lossy(scene, findings)), scene)


def explain(scene: Scene, known: Iterable[Finding] = ()) -> tuple[Finding, ...]:
    """
    What is wrong in addition to the findings that are known, each once, those at the place of a loss first.

    Then the places of what none of that explains.
    """
    known = list(known)
    before = {(finding.code, finding.node, finding.interface) for finding in known}
    findings = [one for one in causes(scene) if (one.code, one.node, one.interface) not in before]
    return (*findings, *whereabouts(scene, [*known, *findings]))


def causes(scene: Scene) -> list[Finding]:
    """What the rules find, each once, those at the place of a loss first."""
    found: list[Finding] = []
    for after in ("", *AFTER):
        found += _each(known(after), scene, found)
    findings = [_with_loss(scene, finding) for finding in _once(list(careful(scene, found)))]
    findings.sort(key=lambda finding: not any(can_lose(scene, finding, loss) for loss in scene.losses))
    return findings


def _each(rules: Iterable[RuleFunction], scene: Scene, found: Sequence[Finding] = ()) -> list[Finding]:
    made: dict[tuple[str, str, str, str], Finding] = {}
    for rule in rules:
        with contextlib.suppress(NotApplicable):  # a rule about a hub, where there is none
            for finding in run(rule, scene, found):
                made.setdefault((finding.code, finding.node, finding.interface, finding.remedy), finding)
    return list(made.values())


def run(rule: RuleFunction, scene: Scene, found: Sequence[Finding] = ()) -> Iterator[Finding]:
    """What a rule finds that is given what its parameters name (`rules`)."""
    names = inspect.signature(rule).parameters
    for host in next((HOSTS[name](scene) for name in names if name in HOSTS), [None]):
        given = {"scene": scene, **dict.fromkeys(AFTER, found), **dict.fromkeys(HOSTS, host)}
        yield from rule(**{name: given[name] for name in names})


def _once(findings: Sequence[Finding]) -> Iterator[Finding]:
    """
    The findings without those that another one's command corrects: one cause, one finding.

    A command that is a part of another one's at the same host is left to that one; so is that of a firewall's rule
    which another finding names by what it does.
    """
    for one in findings:
        others = [other for other in findings if (other.node, bool(other.remedy)) == (one.node, True)]
        part = any(one.remedy in other.remedy.split(" && ") and one.remedy != other.remedy for other in others)
        same = [other for other in others if other.remedy == one.remedy or (one.rule and one.rule in other.evidence)]
        named = [other for other in same if other.code not in BY_ITS_DROPS]
        if not part and not (named and one.code in BY_ITS_DROPS):
            yield one


def _with_loss(scene: Scene, finding: Finding) -> Finding:
    """The finding with a loss that can be its doing: of a small packet and at its interface, if there is one."""

    def nearness(loss: Loss) -> tuple[bool, bool, bool]:
        at_host = finding.node in (loss.node, loss.missing.node)
        ends = (loss.missing.interface, loss.last.interface if loss.last else "")
        return loss.exchange.kind not in OF_SIZES, at_host, at_host and finding.interface in ends

    own = [loss for loss in scene.losses if can_lose(scene, finding, loss)]
    chosen = max(own, key=nearness, default=None)
    if chosen is None or any(str(loss) in finding.evidence for loss in own):
        return finding
    return replace(finding, evidence=f"{finding.evidence}; {chosen}")


def whereabouts(scene: Scene, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Where what no rule explains was lost, repeated or put out of order."""
    findings = list(findings)
    losses = unexplained(scene, findings)
    if losses and all(loss.unresolved for loss in scene.losses):
        ends = [{loss.exchange.sender, loss.receiver} for loss in losses]
        common = [name for name in scene.hosts if all(name in both for both in ends)]
        if common:
            host = scene.hosts[common[-1]]
            yield host.declared("neighbour-unresolved", host.plan.device, "; ".join(map(str, losses[:2])))
            return
    first: dict[tuple[str, str, str], Loss] = {}
    for loss in losses:
        first.setdefault((loss.stage, loss.missing.node, loss.missing.interface), loss)
    yield from map(_lost, first.values())
    if not scene.losses:
        disturbed, refused, silent = (islice(of(scene), 1) for of in (_disturbed, _refused, _silent))
        seen = [*disturbed, *refused] or [*silent]
        yield from (one for one in seen if not any(_may_cause(scene, cause, one) for cause in findings))


def _may_cause(scene: Scene, cause: Finding, seen: Finding) -> bool:
    """Whether a finding may be why pings, order or sending are not as they should be: nearly any at the host may."""
    if has(cause, "kernel"):
        return True
    if cause.code == "default-ttl-low":
        return scene.spends_ttl_of(scene.hosts[cause.node])
    if seen.code == "ping-unanswered":
        between = {name for pair in scene.unforwarded for name in pair}
        return cause.node in {seen.node, *between} and (has(cause, "pings") or not has(cause, "nothing"))
    return not has(cause, "nothing") or has(cause, "lets-through")


def _lost(loss: Loss) -> Finding:
    inside = loss.inside
    node = inside.node if inside else loss.missing.node
    interface = inside.interface if inside else loss.missing.interface or (loss.last.interface if loss.last else "")
    code = f"lost-at-{loss.stage}" if loss.whole else f"partly-lost-at-{loss.stage}"
    return declared(code, node, interface, str(loss))


def _refused(scene: Scene) -> Iterator[Finding]:
    """Datagrams that a kernel did not send, connections that came to nothing."""
    for exchange in scene.trial.exchanges:
        if exchange.refused and exchange.network == "overlay":
            host = scene.hosts[exchange.sender]
            yield host.declared("sending-refused", host.plan.device, f"{exchange}: {exchange.refused}")
    for stream in scene.trial.streams:
        if stream.refused:
            server, found = scene.hosts[stream.server], f"{stream.client} to {stream.server}: {stream.refused}"
            yield server.declared("stream-refused", server.plan.device, found)


def _silent(scene: Scene) -> Iterator[Finding]:
    """Hosts that receive everything, and whose answers to a ping reach no host."""
    pings = scene.trial.pings if scene.topology.answer_broadcast_ping else ()
    for pinger, name in scene.unforwarded if pings else ():
        found = f"{pinger} has an answer from {scene.hub.name} and none from {name}"
        yield scene.hub.declared("ping-unanswered", scene.topology.bridge, found)
    for name, host in scene.hosts.items():
        asked = [answers for answers in pings if answers.pinger != name]
        own = [answers for answers in pings if answers.pinger == name]
        mute = asked and not any(answers.counts.get(name) for answers in asked)
        deaf = own and not any(answers.others for answers in own)
        if mute or deaf:
            found = f"{len(asked if mute else own)} broadcast pings {'of others' if mute else 'of its own'}, no answer"
            yield host.declared("ping-unanswered", host.plan.device, found)


def _disturbed(scene: Scene) -> Iterator[Finding]:
    """Copies and order: an exchange that lost nothing may still not be as it was sent."""
    for exchange in scene.trial.exchanges:
        for receiver in exchange.receivers:
            heard = (exchange.heard or {}).get(receiver, ())
            if exchange.network != "overlay" or not heard:
                continue
            if exchange.repeated(receiver):
                found = f"{exchange}: {len(heard)} copies of {len(exchange.sent)} datagrams"
                yield declared("duplicated", receiver, "", found)
            elif not exchange.in_order(receiver):
                found = f"{exchange}: {len(heard)} datagrams, not in the order in which they were sent"
                yield declared("reordered", receiver, "", found)
