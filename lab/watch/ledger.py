"""What a watch has seen so far: figures for each pair and kind, in bounded memory, and what changed with each round."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass, field
from typing import Literal

from lab.probes.deadlines import Flow
from lab.watch.exchange import Round

PairState = Literal["works", "lost", "duplicated"]
STEP = math.log(1.05)
"""Latencies are counted in classes that are 5 % wide: a percentile is as exact as that."""
LEAST = 1e-7  # seconds; what is less counts as this


class Latencies:
    """How often each latency occurred, by class."""

    def __init__(self) -> None:
        self._counts: collections.Counter[int] = collections.Counter()

    def add(self, seconds: float) -> None:
        self._counts[round(math.log(max(seconds, LEAST)) / STEP)] += 1

    def percentile(self, share: float) -> float | None:
        """The latency in seconds that a share of the datagrams did not exceed; None where none is known."""
        wanted, counted = share * self._counts.total(), 0
        for number, count in sorted(self._counts.items()):
            counted += count
            if counted >= wanted:
                return math.exp(number * STEP)
        return None


@dataclass
class PairFigures:
    """The figures of one pair and kind; times in seconds on the monotonic clock."""

    arrived: float
    """When the last datagram that arrived was sent; at first, when the watch of it began."""
    state: PairState = "works"
    waited_for: bool = True
    """Whether its datagrams may still be on their way when all others have come."""
    sent: int = 0
    lost: int = 0
    duplicated: int = 0
    late: int = 0
    silence: float = 0.0
    """The longest time between two datagrams that arrived, with one in between that was lost."""
    latencies: Latencies = field(default_factory=Latencies)


@dataclass(frozen=True)
class PairChange:
    """A pair and kind whose state is another one than before; `silent`: seconds for which nothing had arrived."""

    way: Flow
    state: PairState
    silent: float = 0.0


class Ledger:
    """The tallies of every pair and kind."""

    def __init__(self) -> None:
        self.tallies: dict[Flow, PairFigures] = {}

    @property
    def dead(self) -> set[Flow]:
        """Where what is sent need not be waited for."""
        return {way for way, tally in self.tallies.items() if not tally.waited_for}

    @property
    def wrong(self) -> set[Flow]:
        """Where the last datagram did not arrive once."""
        return {way for way, tally in self.tallies.items() if tally.state != "works"}

    def note(self, made: Round, when: float) -> list[PairChange]:
        """Counts a round that began at a time; returns what changed with it."""
        self._note_late(made)
        changes: list[PairChange] = []
        for way, outcome in made.outcomes.items():
            tally = self.tallies.setdefault(way, PairFigures(arrived=when))
            tally.sent += 1
            tally.lost += not outcome.copies
            tally.duplicated += max(0, outcome.copies - 1)
            if outcome.latency is not None:
                tally.latencies.add(outcome.latency)
            silent = when - tally.arrived
            if not outcome.copies or tally.state == "lost":
                tally.silence = max(tally.silence, silent)
            if outcome.copies:
                tally.arrived = when
            repeated = outcome.copies > 1 or bool(made.repeated[way])
            state: PairState = "lost" if not outcome.copies else "duplicated" if repeated else "works"
            if state != tally.state:
                changes.append(PairChange(way, state, silent if tally.state == "lost" else 0.0))
                tally.state = state
            tally.waited_for = bool(outcome.copies)
        return changes

    def _note_late(self, made: Round) -> None:
        for way in self.tallies.keys() & {*made.late, *made.repeated}:
            tally = self.tallies[way]
            tally.late += made.late[way]
            tally.duplicated += made.repeated[way]
            tally.waited_for = tally.waited_for or way in made.late

    def restart(self, host: str, when: float) -> None:
        """Nothing is sent to or from a host that is gone: that is no silence of the overlay, nor a state of it."""
        for way, tally in self.tallies.items():
            if host in (way.sender, way.receiver):
                tally.arrived, tally.state = when, "works"

    def total(self) -> tuple[int, int, int]:
        """How many datagrams were sent, lost and duplicated."""
        tallies = self.tallies.values()
        return (
            sum(tally.sent for tally in tallies),
            sum(tally.lost for tally in tallies),
            sum(tally.duplicated for tally in tallies),
        )
