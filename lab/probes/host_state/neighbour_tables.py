"""
Tables of IPv4 neighbours: whether a host's kernel refused neighbours, and so dropped packets without an error.

    note(nodes)         from now on it counts
    full(nodes)         the tables that were full since
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.machines.base import Call, call
from lab.machines.node import Agent, Node, ask_all, by_machine, tell_all

LIMIT = "net.ipv4.neigh.default.gc_thresh3"


@dataclass(frozen=True)
class FullTable:
    """A table that had no room for neighbours, and the first of the hosts that share it."""

    node: str
    limit: int
    """How many neighbours it holds (LIMIT)."""
    refused: int
    settable: bool
    """Whether the host can raise the limit: only the initial network namespace of a kernel can."""


def note(nodes: Iterable[Node]) -> None:
    """Counts from now on what the kernels refuse, without waiting for them."""
    tell_all(noting(nodes))


def noting(nodes: Iterable[Node]) -> list[tuple[Node, Call[Any]]]:
    """The calls of `note`, to be made together with others."""
    return [(each[0], call(Agent.note_neighbours, nodes=[node.handle for node in each])) for each in by_machine(nodes)]


def full(nodes: Iterable[Node]) -> list[FullTable]:
    """The tables of the nodes that were full since `note`."""
    asked = [first for first, *_ in by_machine(nodes)]
    answers = ask_all([(node, node.call(Agent.neighbour_table)) for node in asked])
    return among({node.name: answer for node, answer in zip(asked, answers, strict=True)})


def among(tables: Mapping[str, Mapping[str, Any]]) -> list[FullTable]:
    """The full ones among what the agents read, by node: each kernel's once."""
    found: dict[str, FullTable] = {}
    for name, table in tables.items():
        if table["refused"]:
            found.setdefault(table["kernel"], FullTable(name, table["limit"], table["refused"], table["settable"]))
    return list(found.values())
