"""
Late is not lost: how long a lab is waited for after a deadline, to tell the one from the other.

What arrives then was not lost, and what it shows is not a fault of the overlay: the check says `TooSlow` and is no
verdict.  A lab in which waiting showed nothing is waited for no longer: its packets are lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SECONDS = 1.0  # in vain, for a whole lab


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
