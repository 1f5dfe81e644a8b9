"""
Faults: each breaks a lab in one way that is met in practice, and names the requirements that must then turn red.

`pytest --inject=NAME` injects one into every lab that is built; the selftests run them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.errors import UsageProblem
from lab.laboratory import Lab


@dataclass(frozen=True)
class Fault:
    """One way to break a lab.  `reds` are the requirements that turn red under it."""

    name: str
    what: str
    reds: tuple[str, ...]
    inject: Callable[[Lab], None]
    tunnels: tuple[str, ...] = ("gretap", "vxlan")


FAULTS: dict[str, Fault] = {}


def named(name: str) -> Fault:
    """The fault of a name; UsageProblem names the ones there are."""
    if name not in FAULTS:
        raise UsageProblem(f"unknown fault {name!r}; there are: " + ", ".join(sorted(FAULTS)))
    return FAULTS[name]
