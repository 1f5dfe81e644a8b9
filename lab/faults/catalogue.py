"""
Faults: each breaks a lab in one way that is met in practice, and names the requirements that must then turn red.

`pytest --inject=NAME` injects one into every lab that is built; the selftests run them all.  The faults themselves are
in the packages of this one, a module for each area, as `FAULTS` (`table`): a new module is found by itself.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Mapping

from lab import faults
from lab.errors import UsageProblem
from lab.faults.actions import shell
from lab.faults.fault import Fault
from lab.laboratory import BuiltLab

__all__ = ["Fault", "known", "listing", "named"]

LIST = "list"
"""What stands in a fault's place to see which there are."""
COMMAND_TIME = 10.0  # seconds; a command that changes something takes milliseconds, and a second where a guest is busy


@functools.cache
def known() -> Mapping[str, Fault]:
    """Every fault by its name; two of one name are a mistake of this package."""
    found: dict[str, Fault] = {}
    for fault in (fault for each in by_module().values() for fault in each.values()):
        if fault.name in found:
            raise ValueError(f"two faults are called {fault.name!r}")
        found[fault.name] = fault
    return found


def by_module() -> dict[str, dict[str, Fault]]:
    """The faults of each module of this package and of those in it, by the module's own name."""
    modules = [module.name for module in pkgutil.walk_packages(faults.__path__, f"{faults.__name__}.")]
    every = {name: getattr(importlib.import_module(name), "FAULTS", ()) for name in modules}
    found = {name.rpartition(".")[2]: {fault.name: fault for fault in each} for name, each in every.items() if each}
    return dict(sorted(found.items()))


def named(name: str) -> Fault:
    """
    The fault of a name, or of a command on a node: `hub: ip link set gretap2 nomaster`.

    UsageProblem names those that are called alike, and how to see all of them.
    """
    node, colon, command = name.partition(": ")
    if colon and command.strip():
        # it was typed for the devices of the chosen tunnels: labs of another kind stay whole
        run = functools.partial(_run, node, command)
        return Fault(name, f"`{command}` was run on {node}", (), run, tunnels=(), node=node)
    if name not in known():
        close = ", ".join(difflib.get_close_matches(name, known()))
        raise UsageProblem(
            f"--inject={name}: unknown fault{f' (did you mean {close}?)' if close else ''}; "
            f"--inject={LIST} lists them, and --inject='NODE: COMMAND' takes any command"
        )
    return known()[name]


def listing() -> str:
    """Every fault that has a name, a line each."""
    needed = {name: f" (--topology={fault.topology})" if fault.topology else "" for name, fault in known().items()}
    return "\n".join(f"{name:<28} {fault.what}{needed[name]}" for name, fault in sorted(known().items()))


def _run(node: str, command: str, lab: BuiltLab) -> None:
    """Runs a shell command on a node of the lab; EnvironmentProblem contains the command's output."""
    if node not in lab.nodes:
        raise UsageProblem(f"--inject={node}: ...: unknown node {node}; expected one of {', '.join(lab.nodes)}")
    shell(lab.nodes[node], command, COMMAND_TIME)
