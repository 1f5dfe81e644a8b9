"""One thing looked at on live hosts: what was found, and when that is not as it should be, what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """
    `ok`: as it should be; `warning`: the overlay can work with it, or it could not be looked at; `problem`: it cannot.

    `found` says what was found, and where that is not what was expected, also what was.  `remedy` is to be run on the
    host at `where`, unless `at` names another place (empty: where the remedy itself says).
    """

    state: State
    where: str
    what: str
    found: str
    remedy: str | None = None
    at: str | None = None

    @property
    def place(self) -> str:
        """Where the remedy is to be run; empty when that is no host."""
        return self.where if self.at is None else self.at
