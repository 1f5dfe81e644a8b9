"""
Round trips by the kernel's own clock: from an echo request's leaving an interface to the reply's coming in there.

No process has a part in it: both times are the captures' (SO_TIMESTAMPNS).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from lab.errors import CheckFailed
from lab.machines.base import Call, call
from lab.machines.node import Agent, Node
from lab.machines.sockets import Socket
from lab.probes import options
from lab.probes.capture import sightings
from lab.probes.payloads import unique
from lab.probes.ping.echo import request

DEADLINE = 2.0  # seconds for one answer


def round_trips(node: Node, to: str, interface: str, count: int, deadline: float = DEADLINE) -> list[float]:
    """
    Milliseconds that each of `count` echo requests to an address took, one after the other.

    CheckFailed when one is not answered within `deadline` seconds.  The first may contain neighbour resolution.
    """
    identifier = int.from_bytes(os.urandom(2), "big")
    took = []
    calls: list[Call[Any]] = []
    with Socket.open(node, **options.ICMP) as endpoint:
        for sequence in range(1, count + 1):
            payload = unique()
            calls += [
                endpoint.call(Agent.send, request(identifier, sequence, payload), [to, 0]),
                endpoint.wait(payload, deadline),
                endpoint.take(),
                call(Agent.frames, nodes=[node.handle], tags=[payload]),
            ]
        answers = node.machine.batch(calls)
    sightings.require_complete([node])
    for missing, (_, seen) in zip(answers[1::4], answers[3::4], strict=True):
        if missing:
            raise CheckFailed(
                f"{node.name} pinged {to}: expected an answer within {deadline:g} s, found none",
                remedy=f"ping -c 1 {to}   (on {node.name})",
            )
        took.append(_between(seen, interface))
    return took


def _between(seen: Sequence[Any], interface: str) -> float:
    """Milliseconds from the first frame out of an interface to the first one into it."""
    times: dict[bool, int] = {}
    for _, device, outgoing, when, _ in seen:
        if device == interface:
            times.setdefault(bool(outgoing), int(when))
    return (times[False] - times[True]) / 1e6
