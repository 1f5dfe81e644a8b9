"""One thing looked at on live hosts: what was found, and when that is not as expected, the fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CheckState = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """
    `ok`: as expected; `warning`: the overlay can work with it, or it could not be examined; `problem`: it cannot.

    `found` is the fact, and the expected one where they differ.  The fix `remedy` is to be
    run on the host at `where`, unless `at` names another host (empty: the remedy names the place).
    """

    state: CheckState
    where: str
    what: str
    found: str
    remedy: str | None = None
    at: str | None = None
    lasting: str = ""
    """The command by which the fix lasts over a reboot, where the fix itself does not show it (`causes.for_good`)."""

    problem: str = ""
    """The problem in a few words, where `what` is only the name of a check."""

    @property
    def place(self) -> str:
        """The host to run the fix on; empty when that is no host."""
        return self.where if self.at is None else self.at
