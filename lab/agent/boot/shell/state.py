"""What the evaluation of a shell's script is made of: how commands end, arguments, the ends of shells, shared state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lab.agent.boot.base import ShellCommand


class Status(NamedTuple):
    """How a command ends: `holds` None: not known."""

    holds: bool | None
    presumed: bool = False
    absent: Sequence[str] = ()
    """The devices without which it ends so."""

    def negated(self) -> Status:
        return self._replace(holds=None if self.holds is None else not self.holds)


YES, NO, UNKNOWN, DONE = Status(True), Status(False), Status(None), Status(True, presumed=True)


class Field(NamedTuple):
    """An argument of a command."""

    text: str
    known: bool = True


class Leave(Exception):
    """The end of a shell, a function, a loop, or one of its rounds."""


class Exit(Leave):
    """`exit`."""


class Return(Leave):
    """`return`."""


class Break(Leave):
    """`break`."""


class Continue(Leave):
    """`continue`."""


class ShellState:
    """What the shells of one boot share: the commands so far, and the devices that they have made."""

    def __init__(self) -> None:
        self.commands: list[ShellCommand] = []
        self.made: dict[str, bool] = {}
        """Whether it is certain, by device."""
        self.written: set[str] = set()
