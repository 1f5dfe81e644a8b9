"""What a fault is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.laboratory import BuiltLab

Inject = Callable[[BuiltLab], None]
"""Breaks a lab."""

Locate = Callable[[BuiltLab], tuple[str, str]]
"""Node and interface in a lab that was broken; an interface of "" is not compared."""


@dataclass(frozen=True)
class ExpectedFinding:
    """What the diagnosis must say of a fault: the finding's code, and where it is."""

    code: str
    at: Locate


@dataclass(frozen=True)
class Fault:
    """
    One way to break a lab.

    `reds` are the requirements that turn red under it, `greens` some that must not (what makes the fault hard to
    see), `finding` the diagnosis' finding.  `fixable` False: no command on a host can fix it, and the reason is in
    the finding.  `node`, `spokes` and `topology` are the node, how many spokes, and the topology (empty: any) that a
    lab must have to be broken in this way.
    """

    name: str
    what: str
    reds: tuple[str, ...]
    inject: Inject
    tunnels: tuple[str, ...] = ("gretap", "vxlan")
    greens: tuple[str, ...] = ()
    finding: ExpectedFinding | None = None
    fixable: bool = True
    node: str = ""
    spokes: int = 1
    topology: str = ""

    @property
    def provider(self) -> str:
        """The cloud that a lab of it must have; empty: any that passes its tunnels."""
        return "aws-tgw" if self.tunnels == ("none",) else ""

    def fits(self, lab: BuiltLab) -> bool:
        """Whether a lab has what this fault breaks: tests build labs with fewer spokes, or with other tunnels."""
        designed = self.topology in ("", lab.topology.name)
        return designed and len(lab.spokes) >= self.spokes and (not self.node or self.node in lab.nodes)
