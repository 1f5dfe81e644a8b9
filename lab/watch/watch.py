"""
The watch: rounds at an interval; what is lost is diagnosed, what changes is reported, hosts come and go.

    watch = Watch(hosts, underlay, every=10, report=print)
    watch.begin()                   reads the overlay, or raises why it cannot be watched
    watch.run(seconds=None)         until the time is over, or a signal came (`lab.interrupts`)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lab.diagnose import explain
from lab.errors import EnvironmentProblem, OvercastError
from lab.interrupts import waiting
from lab.live import LiveLab, LiveOverlay
from lab.model import Finding, NodePlan, Topology, Underlay
from lab.watch import diagnosis, events
from lab.watch.diagnosis import WatchFindings
from lab.watch.events import Emit
from lab.watch.exchange import HostSockets
from lab.watch.hosts import Hosts
from lab.watch.ledger import Ledger, PairChange

if TYPE_CHECKING:
    from lab.watch.metrics import Metrics

NO_OVERLAY = "found no overlay on the hosts that can be watched"
NOT_PART = "not part of the overlay, whose configuration is read again every minute"
READ_AGAIN = 60.0
"""Seconds after which the overlay is read again while a host is connected and not part of it."""


class Watch:
    """One watch over hosts; `losses`, `absences`: whether anything was lost, or could not be watched for a while."""

    def __init__(
        self,
        hosts: Hosts,
        underlay: Underlay,
        every: float,
        report: Emit,
        metrics: Metrics | None = None,
        overlay: str | None = None,
    ) -> None:
        self.hosts, self.ledger = hosts, Ledger()
        self._underlay, self._every, self._report, self._metrics = underlay, every, report, metrics
        self._overlay = overlay
        self._exchange = HostSockets()
        self._topology: Topology | None = None
        self._plans: dict[str, NodePlan] = {}
        self._findings: dict[tuple[str, str, str, str], Finding] = {}
        self._outside: set[str] = set()
        self._gone_since: dict[str, float] = {}
        self._read_at = self._began = time.monotonic()
        self.rounds = 0
        self.absences = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def begin(self, unreached: Mapping[str, str]) -> None:
        """
        Reads the overlay of the hosts that are connected; EnvironmentProblem where it cannot be watched.

        `unreached` has the reason why each of the others is not, by role.
        """
        looked = self._read()
        if looked.layout:
            raise EnvironmentProblem("\n".join(looked.layout.lines))
        if looked.lab is None:
            texts = [line for finding in looked.findings for line in events.found(finding).lines]
            raise EnvironmentProblem("\n  ".join([NO_OVERLAY, *texts]), remedy="./overcast doctor --hosts=...")
        explain.known()  # imported now, and not when something is wrong and every second counts
        count = len(self._plans)
        topology = looked.lab.topology
        shape = f"{topology.options.kind}, {topology.name}"
        names = {role: spec.destination for role, spec in self.hosts.specs.items()}
        self._report(events.started(names, shape, count * (count - 1), self._every))
        self._note_findings([finding for finding in looked.findings if not finding.note])
        if self._metrics:
            for role in self.hosts.nodes:
                self._metrics.connected(role, True)
        for role in self.hosts.gone:
            self._lose(role, f"not reached: {unreached.get(role, '')}")

    def run(self, seconds: float | None = None) -> None:
        """A round at each interval until the time is over; what a long round overlaps is left out."""
        self._began = due = time.monotonic()
        while seconds is None or due - self._began < seconds:
            with waiting():
                threading.Event().wait(max(0.0, due - time.monotonic()))
            self.round()
            due += self._every * (1 + (time.monotonic() - due) // self._every)

    def round(self) -> None:
        """One round, and what follows from it."""
        self._take_back()
        when = time.monotonic()
        made = self._exchange.round(self.ledger.dead)
        self.rounds += 1
        for role, why in made.gone.items():
            self.hosts.lose(role)
            self._lose(role, why)
        changes = self.ledger.note(made, when)
        if self._metrics:
            self._metrics.note(made)
        if self.rounds == 1:
            self._report(events.first_round(made))
        if any(change.state != "works" for change in changes):
            self._explain(changes)
        else:
            self._report_changes(changes, WatchFindings())
            if not self.ledger.wrong and changes:
                self._note_findings(())

    def _explain(self, changes: Sequence[PairChange]) -> None:
        missing = self._needed()
        if missing:
            self._report_changes(changes, WatchFindings(skipped=f"not diagnosed: {', '.join(missing)} not connected"))
            return
        specs = list(self.hosts.specs.values())
        found = diagnosis.diagnose(self.hosts.nodes, specs, self._underlay, self.ledger.dead, self._overlay)
        self._report_changes(changes, found)
        if not found.skipped or found.findings:
            self._note_findings(found.findings)

    def _needed(self) -> list[str]:
        """The hosts without which the overlay cannot be read: a star's hub, of another shape each."""
        assert self._topology is not None
        needed = [plan.name for plan in self._topology.hubs] or list(self._plans)
        return [name for name in needed if name not in self.hosts.nodes]

    def _report_changes(self, changes: Sequence[PairChange], found: WatchFindings) -> None:
        causes = [
            (change, () if change.state == "works" else found.causes(change.way, change.state)) for change in changes
        ]
        for event in events.changed(causes, found.skipped):
            self._report(event)

    def _note_findings(self, findings: Sequence[Finding]) -> None:
        now = {(finding.code, finding.node, finding.interface, finding.rule): finding for finding in findings}
        for key, finding in self._findings.items():
            if key not in now:
                self._report(events.cleared(finding))
        for key, finding in now.items():
            if key not in self._findings:
                self._report(events.found(finding))
        self._findings = now
        if self._metrics:
            self._metrics.show(findings)

    # hosts

    def _lose(self, role: str, why: str) -> None:
        self.absences = True
        self._gone_since[role] = time.monotonic()
        self.ledger.restart(role, time.monotonic())
        self._report(events.gone(role, why))
        if self._metrics:
            self._metrics.connected(role, False)

    def _take_back(self) -> None:
        returned = list(self.hosts.back())
        for role in returned:
            self._report(events.back(role, time.monotonic() - self._gone_since.pop(role)))
            if self._metrics:
                self._metrics.connected(role, True)
        if returned or (self._outside and time.monotonic() - self._read_at > READ_AGAIN):
            try:
                self._read()
            except (OvercastError, OSError):
                self._open(None)  # which host it is shows in the round that follows

    def _read(self) -> LiveOverlay:
        """Reads the overlay as far as it can be read without the hosts that are gone; what was known stays known."""
        self._read_at = time.monotonic()
        if self._topology and self._needed():
            self._open(None)
            return LiveOverlay(None, (), {})
        looked = diagnosis.look(self.hosts.nodes, self.hosts.specs.values(), self._underlay, self._overlay)
        if looked.lab is not None:
            self._topology = looked.lab.topology
            self._plans |= looked.lab.topology.plans
        if self._plans:
            self._open(looked.lab)
            outside = self.hosts.nodes.keys() - self._plans.keys()
            for role in sorted(outside - self._outside):
                self._report(events.unwatched(role, NOT_PART))
            self._outside = outside
        return looked

    def _open(self, lab: LiveLab | None) -> None:
        """Adds the connected hosts to the exchange; waits until a hub that prunes lists their memberships."""
        added = []
        for role, node in list(self.hosts.nodes.items()):
            if role in self._plans and role not in self._exchange:
                try:
                    self._exchange.add(node, self._plans[role])
                    added.append(role)
                except (OvercastError, OSError) as problem:
                    self.hosts.lose(role)
                    self._lose(role, getattr(problem, "message", str(problem)))
        for role in added:
            self.ledger.restart(role, time.monotonic())
        if lab is not None and added:
            lab.await_listed([self._exchange.group], [role for role in added if role in lab.plans])
