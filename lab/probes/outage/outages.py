"""
What one receiver missed of a numbered stream: silences, and numbers that were lost, repeated or out of order.

A pure function of the times at which numbers were sent and received (`stream`), and of the events between.
"""

from __future__ import annotations

import bisect
import collections
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

TrafficKind = Literal["broadcast", "multicast", "unicast"]
KINDS: tuple[TrafficKind, ...] = get_args(TrafficKind)
LAST = 10  # numbers before the next event that show whether a receiver has recovered
ON_ITS_WAY = 20_000_000  # ns that a datagram may be on its way when something is lost


@dataclass(frozen=True)
class Outage:
    """What one receiver missed of one kind of traffic from an event on; times in seconds."""

    event: str
    receiver: str
    kind: TrafficKind
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


def by_target(packed: tuple[bytes, bytes, bytes], ahead: int = 0) -> dict[int, Arrivals]:
    """The arrivals at one receiver by target, as the agent packs them; `ahead` is by how many ns its clock is."""
    targets, numbers, times = packed
    heard: dict[int, Arrivals] = {}
    for target, number, when in zip(array("H", targets), array("I", numbers), array("Q", times), strict=True):
        arrivals = heard.setdefault(target, Arrivals(array("I"), array("Q")))
        arrivals.numbers.append(number)
        arrivals.times.append(when - ahead)
    return heard


def copies(heard: Iterable[Arrivals]) -> int:
    """How many numbers came again."""
    return sum(len(each.numbers) - len(set(each.numbers)) for each in heard)


def judged(
    receiver: str, kind: TrafficKind, sent: Sequence[int], arrivals: Arrivals, events: Sequence[tuple[str, int]]
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
