"""Why something is lost, found as the suite finds it: the overlay is read again, tried, and put to the same rules."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lab import live
from lab.diagnose import scene
from lab.diagnose.codes import has
from lab.diagnose.effects import can_lose
from lab.diagnose.explain import explain
from lab.diagnose.scene import Scene
from lab.errors import OvercastError
from lab.live import LiveOverlay
from lab.machines.live.hosts import HostSpec
from lab.machines.node import Agent, Observed
from lab.model import Finding, Underlay
from lab.overlay.recognition import readback
from lab.probes.deadlines import Flow
from lab.watch.ledger import PairState

NOTHING_FOUND = "the trial that followed lost nothing"


@dataclass(frozen=True)
class WatchFindings:
    """The overlay's findings; `skipped` is the reason why there are none."""

    findings: tuple[Finding, ...] = ()
    skipped: str = ""
    scene: Scene | None = None

    def causes(self, way: Flow, state: PairState) -> tuple[Finding, ...]:
        """The findings that explain what is wrong on a way; all, where it is not known which do."""
        if state == "duplicated":
            chosen = [finding for finding in self.findings if has(finding, "twice") or finding.code == "duplicated"]
        else:
            chosen = [finding for finding in self.findings if self._loses(finding, way)]
        return tuple(chosen) or self.findings

    def _loses(self, finding: Finding, way: Flow) -> bool:
        return self.scene is not None and any(
            can_lose(self.scene, finding, loss)
            for loss in self.scene.losses
            if (loss.exchange.sender, loss.receiver, loss.exchange.kind) == (way.sender, way.receiver, way.kind)
        )


def look(
    nodes: Mapping[str, Observed], specs: Iterable[HostSpec], underlay: Underlay, overlay: str | None = None
) -> LiveOverlay:
    """The overlay of live hosts (`live.looked`), with the user's names."""
    with _alone(nodes):
        looked = live.looked(nodes, readback.read(list(nodes.values())), underlay, overlay=overlay)
    return replace(looked, findings=live.named(looked.findings, specs))


def diagnose(
    nodes: Mapping[str, Observed],
    specs: Sequence[HostSpec],
    underlay: Underlay,
    lost: Collection[Flow],
    overlay: str | None = None,
) -> WatchFindings:
    """
    Reads the overlay of the hosts, a star's hub first, and tries it: datagrams are sent, nothing is changed.

    What is lost on the ways `lost` is not waited for once more.
    """
    try:
        with _alone(nodes):
            looked = live.looked(nodes, readback.read(list(nodes.values())), underlay, lost, overlay)
            if looked.layout:
                return WatchFindings(skipped=looked.layout.lines[0])
            if looked.lab is None:
                why = "no datagrams were sent: too little of the overlay is left"
                return WatchFindings(_causes(looked.findings, specs), why)
            looked.lab.forget()
            tried = scene.gather(looked.lab)
    except (OvercastError, OSError) as problem:
        return WatchFindings(skipped=f"not diagnosed: {getattr(problem, 'message', problem)}")
    found = _causes((*looked.findings, *explain(tried, known=looked.findings)), specs)
    return WatchFindings(found, "" if found else NOTHING_FOUND, tried)


@contextlib.contextmanager
def _alone(nodes: Mapping[str, Observed]) -> Iterator[None]:
    """After the block nothing is captured, and no host waits for another, which may be gone by then."""
    try:
        yield
    finally:
        for node in nodes.values():
            node.machine.peers, node.machine.peer_addresses = (), {}
        for node in nodes.values():
            with contextlib.suppress(OvercastError, OSError):  # a host that is gone is noticed in the next round
                node.machine.settle()
                node.machine.call(Agent.untap, [node.handle])


def _causes(findings: Iterable[Finding], specs: Iterable[HostSpec]) -> tuple[Finding, ...]:
    """The findings that lose something, with the user's names of the hosts."""
    return live.named([finding for finding in findings if not finding.note], specs)
