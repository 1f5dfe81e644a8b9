"""A device that sends everything later, or loses some of it, for the length of a block (tc-netem(8))."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from lab.errors import EnvironmentProblem
from lab.machines import abilities
from lab.machines.node import Node

OTHER_KERNEL = "./overcast --kernel=guest"
HOW: Mapping[str, tuple[str, ...]] = {"slow": ("delay", "20ms"), "lossy": ("loss", "5%")}


@contextlib.contextmanager
def impaired(node: Node, device: str, how: str) -> Iterator[None]:
    """A device of a node is `slow` or `lossy`."""
    _tc(node, "add", "dev", device, "root", "netem", *HOW[how])
    yield
    _tc(node, "del", "dev", device, "root")


def _tc(node: Node, *words: str) -> None:
    done = node.run("tc", "qdisc", *words)
    if done["status"] != 0:
        said = str(done["errors"]).strip()
        problem = f"{node.name}: `tc qdisc {' '.join(words)}` failed: {said}"
        if lack := abilities.lacking(said):
            problem = f"{node.name}: this kernel has no netem, by which a test delays or drops packets ({lack})"
        raise EnvironmentProblem(problem, remedy=abilities.remedy("sch_netem") or OTHER_KERNEL)
