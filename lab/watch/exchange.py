"""
One round of datagrams between all hosts: a unicast for each ordered pair, a broadcast and a multicast from each host.

    each host, in one request:   send all, wait for what the others send, take what has arrived
    where something is missing:  once all have sent, wait once more: a request that came late is not a loss

The sockets stay open and stay members of the group from round to round, as a program's would.  What arrives after its
round (a copy, or the first one) is counted in the next.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.errors import EnvironmentProblem
from lab.groups import ORGANIZATION, fresh
from lab.machines.base import Call, call
from lab.machines.node import Agent, Node
from lab.machines.sockets import fresh_handle
from lab.model import NodePlan
from lab.probes import options
from lab.probes.deadlines import LIVE_MOST, SHORT, TIMES, Flow, FlowKind
from lab.probes.payloads import fresh_port, unique

KINDS: tuple[FlowKind, ...] = ("unicast", "broadcast", "multicast")
REMEMBERED = 3
"""Rounds whose datagrams are still known when they arrive late."""
LEAST = 0.1
"""Seconds that a round waits at least for what is missing: once while hosts may not have sent yet, and once more."""
ANSWERED_WITHIN = 8.0
"""Seconds beyond its own deadlines after which a host that does not answer is gone: the others do not wait for it."""


@dataclass
class Reception:
    """What became of one datagram at one receiver; `latency` in seconds, None where it cannot be known."""

    copies: int = 0
    latency: float | None = None
    refused: str = ""
    """Why the sender's kernel did not send it."""


@dataclass
class Round:
    """What became of a round, of what arrived late from earlier ones, and the hosts that were lost in it."""

    outcomes: dict[Flow, Reception] = field(default_factory=dict)
    late: collections.Counter[Flow] = field(default_factory=collections.Counter)
    """First copies of earlier rounds' datagrams."""
    repeated: collections.Counter[Flow] = field(default_factory=collections.Counter)
    """Further copies of earlier rounds' datagrams."""
    gone: dict[str, str] = field(default_factory=dict)
    """Why each host that did not answer is gone."""


@dataclass
class _Datagram:
    """One datagram on its way to its receivers."""

    ways: Mapping[str, Flow]
    copies: collections.Counter[str] = field(default_factory=collections.Counter)
    sent: int = 0
    """Nanoseconds since the epoch, by the sender's clock."""


@dataclass(frozen=True)
class _Station:
    """A host's end: its socket, which sends and receives."""

    node: Node
    plan: NodePlan
    handle: int


class HostSockets:
    """The sockets of all hosts that are connected, on one port and in one group."""

    def __init__(self) -> None:
        self.port, self.group = fresh_port(), fresh(ORGANIZATION)
        self._stations: dict[str, _Station] = {}
        self._slowest = 0.0
        """Seconds that the slowest round took in which nothing was lost; 0: there has been none."""
        self._rounds: collections.deque[dict[bytes, _Datagram]] = collections.deque(maxlen=REMEMBERED)

    def __contains__(self, name: str) -> bool:
        return name in self._stations

    def add(self, node: Node, plan: NodePlan) -> None:
        """Opens a host's socket; EnvironmentProblem or OSError where that cannot be."""
        station = _Station(node, plan, fresh_handle())
        chosen = [options.REUSE_ADDRESS, options.BROADCAST, *options.sending(loop=False)]
        opening = node.call(Agent.open, station.handle, **options.UDP, options=chosen, bind=["", self.port])
        node.machine.batch([opening, self._joining(station)])
        self._stations[plan.name] = station

    def remove(self, name: str) -> None:
        """A host takes part no longer."""
        self._stations.pop(name, None)

    def round(self, lost: Collection[Flow]) -> Round:
        """
        Sends everything once and returns what arrived.

        What has been lost is not waited for: on these ways it is taken when the rest has come, or with the next round.
        """
        made = Round()
        sending, datagrams = self._datagrams()
        self._rounds.append(datagrams)
        grace = min(LIVE_MOST, max(LEAST, TIMES * self._slowest)) if self._slowest else LIVE_MOST
        began = time.monotonic()
        calls = {name: self._calls(station, sending[name], lost, grace) for name, station in self._stations.items()}
        answers = self._ask(calls, made, grace)
        self._note_sent(sending, answers, made)
        passed: dict[Flow, int] = {}
        self._take(answers, made, passed)
        if awaited := self._missing(made, lost):
            answers = self._ask({name: self._again(name, payloads, grace) for name, payloads in awaited}, made, grace)
            self._take(answers, made, passed)
        elif not made.gone:
            self._slowest = max(self._slowest, time.monotonic() - began)
        for way, seconds in latencies(passed).items():
            made.outcomes[way].latency = seconds
        return made

    def _datagrams(self) -> tuple[dict[str, list[tuple[bytes, str]]], dict[bytes, _Datagram]]:
        """What each host sends, and where."""
        sending: dict[str, list[tuple[bytes, str]]] = {name: [] for name in self._stations}
        made: dict[bytes, _Datagram] = {}
        for sender, station in self._stations.items():
            others = [name for name in self._stations if name != sender]
            aims: list[tuple[FlowKind, str, list[str]]] = [
                *(("unicast", self._stations[name].plan.address(), [name]) for name in others),
                ("broadcast", station.plan.broadcast(), others),
                ("multicast", self.group, others),
            ]
            for kind, to, receivers in aims:
                payload = unique()
                made[payload] = _Datagram({name: Flow("overlay", kind, sender, name) for name in receivers})
                sending[sender].append((payload, to))
        return sending, made

    def _joining(self, station: _Station) -> Call[Any]:
        """Joins the group: refused where the socket is a member; a device that was made again gets its membership."""
        option = options.membership(self.group, station.plan.address())
        return call(Agent.attempt, Agent.set_option.__name__, (station.handle, *option), {})

    def _calls(
        self, station: _Station, sending: Sequence[tuple[bytes, str]], lost: Collection[Flow], grace: float
    ) -> list[Call[Any]]:
        name = station.plan.name
        wanted = {payload: datagram.ways[name] for payload, datagram in self._to(name)}
        dead = [payload for payload, way in wanted.items() if way in lost]
        sent = [(payload, (to, self.port)) for payload, to in sending]
        calls: list[Call[Any]] = [call(Agent.send_each, station.handle, sent)]
        if any(wanted[payload].kind == "multicast" for payload in dead):
            calls.append(self._joining(station))
        calls.append(self._wait(station, [payload for payload in wanted if payload not in dead], grace))
        if dead:
            calls.append(self._wait(station, dead, SHORT))
        return [*calls, call(Agent.take, endpoints=[station.handle])]

    def _again(self, name: str, payloads: Sequence[bytes], grace: float) -> list[Call[Any]]:
        station = self._stations[name]
        return [self._wait(station, payloads, grace), call(Agent.take, endpoints=[station.handle])]

    def _wait(self, station: _Station, payloads: Sequence[bytes], seconds: float) -> Call[Any]:
        return call(Agent.wait_for, [[station.handle, payload] for payload in payloads], seconds)

    def _to(self, receiver: str) -> Iterator[tuple[bytes, _Datagram]]:
        """The datagrams of this round that a host is to receive."""
        return ((payload, one) for payload, one in self._rounds[-1].items() if receiver in one.ways)

    def _ask(self, calls: Mapping[str, Sequence[Call[Any]]], made: Round, grace: float) -> dict[str, list[Any]]:
        """The answers of all hosts that give one, asked at the same time; the others take part no longer."""
        posted: dict[str, int] = {}
        answers: dict[str, list[Any]] = {}
        for name, batch in calls.items():
            try:
                posted[name] = self._stations[name].node.machine.post(batch)
            except EnvironmentProblem as problem:
                made.gone[name] = problem.message
        for name, request in posted.items():
            try:
                machine = self._stations[name].node.machine
                answers[name] = machine.answer(request, 2 * grace + ANSWERED_WITHIN)
            except (EnvironmentProblem, OSError) as problem:
                made.gone[name] = getattr(problem, "message", str(problem))
        for name in made.gone:
            self.remove(name)
        return answers

    def _note_sent(
        self, sending: Mapping[str, Sequence[tuple[bytes, str]]], answers: Mapping[str, list[Any]], made: Round
    ) -> None:
        """An outcome for every datagram that was sent to a host that still answers."""
        for name, (sent, *_) in answers.items():
            for (payload, _), (when, refusal) in zip(sending[name], sent, strict=True):
                datagram = self._rounds[-1][payload]
                datagram.sent = when
                for receiver, way in datagram.ways.items():
                    if receiver in answers:
                        made.outcomes[way] = Reception(refused=refusal or "")

    def _take(self, answers: Mapping[str, list[Any]], made: Round, passed: dict[Flow, int]) -> None:
        for receiver, (*_, (inbox,)) in answers.items():
            for received in inbox:
                for datagrams in self._rounds:
                    datagram = datagrams.get(received["payload"])
                    if datagram is None or receiver not in datagram.ways:
                        continue
                    way = datagram.ways[receiver]
                    datagram.copies[receiver] += 1
                    if datagrams is not self._rounds[-1]:
                        counted = made.late if datagram.copies[receiver] == 1 else made.repeated
                        counted[way] += 1
                    elif way in made.outcomes:
                        made.outcomes[way].copies += 1
                        passed.setdefault(way, received["time"] - datagram.sent)

    def _missing(self, made: Round, lost: Collection[Flow]) -> list[tuple[str, list[bytes]]]:
        """The hosts that have not received what nothing was known to lose, with what that is."""
        found = []
        for name in self._stations:
            payloads = []
            for payload, datagram in self._to(name):
                outcome = made.outcomes.get(datagram.ways[name])
                if outcome and not outcome.copies and not outcome.refused and datagram.ways[name] not in lost:
                    payloads.append(payload)
            found += [(name, payloads)] if payloads else []
        return found


def latencies(passed: Mapping[Flow, int]) -> dict[Flow, float]:
    """
    Seconds that each datagram took, from its way and the nanoseconds between two hosts' clocks.

    The unicasts of a pair, there and back, show by how much one clock is ahead of the other, if both took as long.
    """
    found = {}
    for way, nanoseconds in passed.items():
        there = passed.get(Flow("overlay", "unicast", way.sender, way.receiver))
        back = passed.get(Flow("overlay", "unicast", way.receiver, way.sender))
        if there is not None and back is not None:
            found[way] = max(0.0, (nanoseconds - (there - back) / 2) / 1e9)
    return found
