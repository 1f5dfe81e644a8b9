"""
Faults: each breaks a lab in one way that is met in practice, and names the requirements that must then turn red.

`pytest --inject=NAME` injects one into every lab that is built; the selftests run them all.  The faults themselves are
in the other modules of this package, one per area, as `FAULTS = (Fault(...), ...)`: a new module is found by itself.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from lab import faults
from lab.errors import UsageProblem
from lab.faults.fault import Fault

__all__ = ["Fault", "known", "named"]


@functools.cache
def known() -> Mapping[str, Fault]:
    """Every fault by its name; two of one name are a mistake of this package."""
    found: dict[str, Fault] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(faults.__path__)):
        for fault in getattr(importlib.import_module(f"{faults.__name__}.{module}"), "FAULTS", ()):
            if fault.name in found:
                raise ValueError(f"two faults are called {fault.name!r}")
            found[fault.name] = fault
    return found


def named(name: str) -> Fault:
    """The fault of a name; UsageProblem lists the ones there are (`--inject=list` does so on purpose)."""
    if name not in known():
        listed = "\n".join(f"  {fault.name:<24} {fault.what}" for _, fault in sorted(known().items()))
        raise UsageProblem(f"--inject={name} names no fault; there are:\n{listed}")
    return known()[name]
