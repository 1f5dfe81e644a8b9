"""What a fault is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.laboratory import Lab


@dataclass(frozen=True)
class Fault:
    """One way to break a lab.  `reds` are the requirements that turn red under it."""

    name: str
    what: str
    reds: tuple[str, ...]
    inject: Callable[[Lab], None]
    tunnels: tuple[str, ...] = ("gretap", "vxlan")
