"""
Fences: waiting for packets that follow a probe on its way, without a clock where that can be.

In one kernel every packet waits in the same queue (netif_rx, one CPU: the agent is pinned).  A marker on the underlay,
leg by leg, arrives after what was queued before it: when a few of them have gone the whole way and a fence has still
not come, it never will.  Only where the underlay is cut too does a deadline end the wait.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.agent.capture.taps import Tap
from lab.agent.datagrams.sockets import Endpoint, wait_until

ROUNDS = 8
"""Markers that go the whole way before a fence is given up: a fence may need an ARP exchange first, over two legs."""

Send = Callable[[bytes], None]
FenceToken = tuple[Endpoint, bytes]


@dataclass(frozen=True)
class MarkerPath:
    """One leg of the underlay: how a marker is sent on it, and where it arrives."""

    send: Send
    arrival: Tap
    """Where it is seen to arrive: before the host's firewall, which may keep it from any socket."""


def missing(tokens: Sequence[FenceToken], legs: Sequence[MarkerPath], timeout: float) -> list[int]:
    """The positions of the fences that did not arrive, after `ROUNDS` markers or `timeout` seconds."""
    deadline = time.monotonic() + timeout
    left = set(range(len(tokens)))

    def outstanding() -> bool:
        for position in list(left):
            endpoint, token = tokens[position]
            endpoint.drain()
            if any(token in received["payload"] for received in endpoint.inbox):
                left.discard(position)
        return bool(left)

    for _ in range(ROUNDS if legs else 0):
        if not outstanding():
            return []
        went = False
        for leg in legs:
            gone = _gone(leg, deadline)
            if gone is False:
                went = False
                break
            went = went or bool(gone)
        if not went:
            break
    else:
        if legs:
            outstanding()
            return sorted(left)
    endpoints = list({id(endpoint): endpoint for endpoint, _ in tokens}.values())
    wait_until(endpoints, lambda: not outstanding(), max(0.0, deadline - time.monotonic()))
    return sorted(left)


def _gone(leg: MarkerPath, deadline: float) -> bool | None:
    """Whether a marker has arrived; None where none can be sent, so that nothing is on its way."""
    marker = os.urandom(12)
    try:
        leg.send(marker)
    except OSError:
        return None
    return leg.arrival.wait_newest(marker, deadline)
