"""
An outage meter: a numbered stream from one host to all others, and what each of them missed of it.

    with Stream(lab.nodes, lab.topology, "spoke1", ["spoke2", "spoke3"]) as stream:
        stream.event("hub lost")
        ...                                     whatever is done to the lab
        stream.await_heard(within=2.0)          until every host receives everything again
    stream.outages()                            for each event, receiver and kind of traffic: silence, lost, ...

Broadcast, multicast and unicast are sent side by side with the same numbers.  Times are the kernel's.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from lab import groups
from lab.errors import CheckFailed
from lab.machines.base import call
from lab.machines.node import Agent, Node
from lab.model import Topology
from lab.probes import membership
from lab.probes.payloads import fresh_port, tag_of, unique

Kind = Literal["broadcast", "multicast", "unicast"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RATE = 500.0
"""Numbers a second; each is sent once to broadcast, once to a group, and once to each receiver."""
SIZE = 100  # octets of a payload
GRACE = 0.5  # seconds that the last numbers may take
LAST = 10  # numbers before the next event that show whether a receiver has recovered
ON_ITS_WAY = 20_000_000  # ns that a datagram may be on its way when something is lost
SLACK = 5.0  # seconds beyond those that a stream must take: a busy machine


@dataclass(frozen=True)
class Outage:
    """What one receiver missed of one kind of traffic from an event on; times in seconds."""

    event: str
    receiver: str
    kind: Kind
    sent: int
    lost: int
    repeated: int
    disordered: int
    silence: float
    """The longest time in which it received none of what was sent; 0: it missed nothing."""
    recovered: bool
    """Whether it lost nothing, or heard again before the next event."""


@dataclass(frozen=True)
class Arrivals:
    """What one receiver heard of one kind, in order of arrival: numbers, and times in ns."""

    numbers: array[int]
    times: array[int]


class Stream:
    """The stream, while the block lasts; `rate` in numbers a second, `size` in octets of UDP payload."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        topology: Topology,
        sender: str,
        receivers: Sequence[str],
        *,
        rate: float = RATE,
        size: int = SIZE,
    ) -> None:
        self._nodes, self._topology, self._sender, self._receivers = nodes, topology, sender, list(receivers)
        self._rate, self._size = rate, size
        self._machine = nodes[sender].machine
        self._opened = contextlib.ExitStack()
        self._events: list[tuple[str, int]] = []
        self._sent: array[int] = array("Q")
        self._heard: list[dict[int, Arrivals]] = []

    def __enter__(self) -> Stream:
        port, group = fresh_port(), groups.fresh()
        with contextlib.ExitStack() as opening:
            plan = self._topology.node(self._sender)
            plans = self._topology.plans
            receiving = (membership.receiver(self._nodes[name], plans[name], port, group) for name in self._receivers)
            heard = [opening.enter_context(one).handle for one in receiving]
            sending = opening.enter_context(membership.sender(self._nodes[self._sender], plan.address()))
            targets = [(plan.broadcast(), port), (group, port)]
            targets += [(self._topology.node(name).address(), port) for name in self._receivers]
            (self._handle,) = self._machine.batch(
                [call(Agent.stream_start, sending.handle, targets, heard, tag_of(unique()), self._rate, self._size)]
            )
            self._opened = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._opened:
            self._machine.batch([call(Agent.stream_quiet, self._handle)])
            self._heard_after(self.count() - 1, GRACE)
            (result,) = self._machine.batch([call(Agent.stream_stop, self._handle)])
        self._sent = array("Q", result["sent"])
        self._heard = [_by_target(*each) for each in result["received"]]

    # while it runs

    def event(self, name: str) -> None:
        """What happens next is counted under this name."""
        self._events.append((name, int(self._machine.hello()["time"])))

    def go_on(self, seconds: float) -> None:
        """Returns when so many seconds' worth of numbers have been sent."""
        wanted = self.count() + max(1, int(seconds * self._rate))
        self._machine.batch([call(Agent.stream_sent, self._handle, wanted, seconds + SLACK)])

    def await_heard(self, within: float, *, at: Sequence[str] = ()) -> bool:
        """
        Waits until the receivers, or those of these names, hear of each kind what is sent from now on.

        False after `within` seconds.
        """
        return self._heard_after(self.count(), within, at)

    def count(self) -> int:
        """How many numbers have been sent."""
        return self._machine.batch([call(Agent.stream_sent, self._handle, 0, 0.0)])[0]

    def _heard_after(self, number: int, within: float, at: Sequence[str] = ()) -> bool:
        wanted = [
            self._targets(position) if not at or name in at else [] for position, name in enumerate(self._receivers)
        ]
        return self._machine.batch([call(Agent.stream_heard, self._handle, number, wanted, within)])[0]

    @staticmethod
    def _targets(position: int) -> list[int]:
        """The numbers of the targets that a receiver is concerned by, in the order of KINDS."""
        return [0, 1, 2 + position]

    # afterwards

    @property
    def sent(self) -> int:
        """How many numbers were sent."""
        return len(self._sent)

    def outages(self) -> list[Outage]:
        """For each event, receiver and kind of traffic; CheckFailed when nothing was heard before the first event."""
        found = []
        for position, name in enumerate(self._receivers):
            for kind, target in zip(KINDS, self._targets(position), strict=True):
                arrivals = self._heard[position].get(target)
                if arrivals is None:
                    raise CheckFailed(f"{name} received no {kind} of {self._sender}'s stream")
                found += judged(name, kind, self._sent, arrivals, self._events)
        return found


def _by_target(targets: bytes, numbers: bytes, times: bytes) -> dict[int, Arrivals]:
    heard: dict[int, Arrivals] = {}
    for target, number, when in zip(array("H", targets), array("I", numbers), array("Q", times), strict=True):
        arrivals = heard.setdefault(target, Arrivals(array("I"), array("Q")))
        arrivals.numbers.append(number)
        arrivals.times.append(when)
    return heard


def judged(
    receiver: str, kind: Kind, sent: Sequence[int], arrivals: Arrivals, events: Sequence[tuple[str, int]]
) -> list[Outage]:
    """
    What was missed from each event until the next one; `sent` has the time of each number, an event its own (ns).

    A silence is the time between two arrivals, of which the numbers between them were lost.  It belongs to the event
    that it begins after, and so do these numbers: also what was on its way at that moment is lost by that event.
    """
    begins = [begin for _, begin in events]

    def event_at(when: int) -> int:
        return bisect.bisect_right(begins, when) - 1

    tallies = [_Tally() for _ in events]
    copies = collections.Counter(arrivals.numbers)
    highest, last, seen = -1, sent[0] if sent else 0, set[int]()
    end = (len(sent), max(last, sent[-1] if sent else 0))
    for number, when in (*zip(arrivals.numbers, arrivals.times, strict=True), end):
        missed = [each for each in range(highest + 1, number) if each not in copies]
        # all of it sent before an event is none of that one's: it was lost before, and what shows it came late
        began = min(last + ON_ITS_WAY, max(last, when), sent[missed[-1]]) if missed else 0
        if missed and (at := event_at(began)) >= 0:
            tallies[at].lost += len(missed)
            tallies[at].silence = max(tallies[at].silence, when - last)
        if number < highest and number not in seen and (at := event_at(sent[number])) >= 0:
            tallies[at].disordered += 1
        seen.add(number)
        if number > highest:
            highest, last = number, when
    for number, when in enumerate(sent):
        if (at := event_at(when)) >= 0:
            tallies[at].sent += 1
            tallies[at].repeated += max(0, copies[number] - 1)
            tallies[at].last.append(number in copies)
    return [
        Outage(
            event,
            receiver,
            kind,
            one.sent,
            one.lost,
            one.repeated,
            one.disordered,
            one.silence / 1e9,
            recovered=not one.lost or 2 * sum(one.last) > len(one.last),
        )
        for (event, _), one in zip(events, tallies, strict=True)
    ]


@dataclass
class _Tally:
    sent: int = 0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0
    silence: int = 0
    last: collections.deque[bool] = field(default_factory=lambda: collections.deque(maxlen=LAST))
    """Whether each of the last numbers was heard."""
