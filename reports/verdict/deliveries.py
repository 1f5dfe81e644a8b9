"""
The delivery matrix: deliveries from host to host, by kind of traffic, on the underlay and on the overlay.

Tests record what they saw as `user_properties` entries named "delivery"; what is asked of a cell is whether everything
seen in it was as expected, so a network that has to drop and does is as right as one that delivers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

KINDS = ("unicast", "broadcast", "multicast")
NETWORKS = ("underlay", "overlay")

DeliveryMark = Literal["delivered", "wrong", "silent", "untested"]


@dataclass(frozen=True)
class Delivery:
    """One observation: a receiver did or did not hear a sender, and whether it should have."""

    kind: str
    sender: str
    receiver: str
    network: str = "overlay"
    delivered: bool = field(kw_only=True)
    expected: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class Matrix:
    """The observations of one network, ready to be drawn."""

    network: str
    nodes: tuple[str, ...]
    cells: Mapping[tuple[str, str, str], DeliveryMark]

    def mark(self, kind: str, sender: str, receiver: str) -> DeliveryMark:
        """Return what is known of a kind of sending between two nodes."""
        return self.cells.get((kind, sender, receiver), "untested")


def matrices(deliveries: Iterable[Delivery]) -> list[Matrix]:
    """Return one matrix for each network that something was recorded on, the underlay first."""
    seen: dict[str, dict[tuple[str, str, str], set[DeliveryMark]]] = {}
    for one in deliveries:
        cell = (one.kind, one.sender, one.receiver)
        seen.setdefault(one.network, {}).setdefault(cell, set()).add(_mark(one))
    order = {network: number for number, network in enumerate(NETWORKS)}
    return [
        _matrix(network, seen[network])
        for network in sorted(seen, key=lambda network: (order.get(network, len(order)), network))
    ]


def _matrix(network: str, seen: Mapping[tuple[str, str, str], set[DeliveryMark]]) -> Matrix:
    precedence: tuple[DeliveryMark, ...] = ("wrong", "delivered", "silent")
    cells = {cell: next(mark for mark in precedence if mark in marks) for cell, marks in seen.items()}
    nodes = {name for _, sender, receiver in cells for name in (sender, receiver)}
    return Matrix(network, tuple(sorted(nodes, key=_node_order)), cells)


def _mark(delivery: Delivery) -> DeliveryMark:
    if delivery.delivered != delivery.expected:
        return "wrong"
    return "delivered" if delivery.delivered else "silent"


def _node_order(name: str) -> tuple[bool, str, int]:
    """Order nodes as one counts them: the hub, spoke2 before spoke10."""
    match = re.fullmatch(r"(.*?)(\d*)", name)
    word, number = match.groups() if match else (name, "")
    return (word != "hub", word, int(number or 0))
