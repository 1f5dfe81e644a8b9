"""
How long a lab is waited for: what is late is not lost, and what is lost is not waited for longer than need be.

After a deadline a lab is waited for once more (`Patience`).  What arrives then was not lost, and what it shows is not a
fault of the overlay: the check says `TooSlow` and is no verdict.  A lab in which waiting showed nothing is waited for
no longer: its packets are lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SECONDS = 1.0  # in vain, for a whole lab
LIVE_MOST, LIVE_LEAST = 1.0, 0.25
"""Seconds that a fence may take between live hosts: several round trips of any cloud region, and its ARP."""
ENOUGH, TIMES = 10, 20  # fences that arrived, and how many times as long as the slowest of them the next one may take


@dataclass
class Patience:
    """The seconds that a lab may still be waited for in vain."""

    left: float = SECONDS

    @contextmanager
    def waiting(self, came: list[object]) -> Iterator[float]:
        """The time that may be waited; used up unless something has come."""
        began = time.monotonic()
        yield self.left
        if not came:
            self.left = max(0.0, self.left - (time.monotonic() - began))


@dataclass
class Learnt:
    """
    How long a fence may take between live hosts: at first as long as between any, then as these have shown.

    An overlay that is broken in one place is not waited for at each of its tests as if it were of another continent.
    """

    came: int = 0
    slowest: float = 0.0

    def note(self, seconds: float) -> None:
        """All fences of a check have come, in this time."""
        self.came += 1
        self.slowest = max(self.slowest, seconds)

    @property
    def seconds(self) -> float:
        if self.came < ENOUGH:
            return LIVE_MOST
        return min(LIVE_MOST, max(LIVE_LEAST, TIMES * self.slowest))
