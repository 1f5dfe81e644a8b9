"""
The errors that Overcast raises on purpose: each names what was found and expected, and the command to run.

Families (after topotato): the environment is broken (`EnvironmentProblem` and below), the user asked for something
that cannot be (`UsageProblem`), the overlay did not do what it must (`CheckFailed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class OvercastError(Exception):
    """Base of all.  `remedy` is the command (or sentence) that corrects it, if one is known."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message if remedy is None else f"{message}\n  fix: {remedy}")


class UsageProblem(OvercastError):
    """An option, a host specification or a name that cannot be understood."""


class EnvironmentProblem(OvercastError):
    """The machine lacks something: a right, a kernel module, a program, a route to a host."""


class Unsupported(EnvironmentProblem):
    """The kernel does not support what a command sets."""


class MachineLost(EnvironmentProblem):
    """A machine that was there (agent, guest, ssh host) stopped answering."""


class TooSlow(EnvironmentProblem):
    """Packets arrived after the deadline: the machine is slow; the overlay is not judged."""


class FramesLost(EnvironmentProblem):
    """Captures lost frames, so a missing frame proves nothing."""


class NotApplicable(OvercastError):
    """
    What is asked has no meaning for this lab: the hub of a mesh, the emulated cloud of live hosts, a change of hosts
    that are read-only.
    """


class NotRun(OvercastError):
    """A test lacks something here, so that its requirement has not been shown."""


class RootNeeded(NotRun):
    """A live host's agent runs without root, and this takes root: captures, raw sockets."""

    def __init__(self, what: str, hosts: str = "the hosts") -> None:
        super().__init__(f"{what} need root on {hosts}", remedy="add --sudo, or log in as root (ssh://root@HOST)")


class CheckFailed(OvercastError, AssertionError):
    """
    The overlay does not meet a requirement.  `paths`: how far what was sent came (`probes.paths`), as data.

    `unfollowed`: the same of what was not captured on its way, without places.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        paths: Sequence[Mapping[str, Any]] = (),
        unfollowed: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.paths, self.unfollowed = tuple(paths), tuple(unfollowed)
