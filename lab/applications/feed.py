"""
A market-data feed: numbered datagrams to a group, and receivers that count what is lost, repeated or out of order.

The feed goes in bursts: the next one is sent when every receiver has the last of the one before, or at BURST_WITHIN.
So no receiver has to hold more than a burst, and a feed is as fast as the slowest of its receivers.
"""

from __future__ import annotations

import contextlib
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.errors import CheckFailed
from lab.host import Host
from lab.machines.base import Call
from lab.machines.node import Node, ask_all
from lab.probes import options
from lab.probes.outage.outages import Arrivals, Outage, judged
from lab.probes.payloads import TAG_SIZE, fresh_port, unique

SIZE = 212  # octets of a datagram
BURST = 100  # datagrams; the default receive buffer of a socket holds some 270 of them
BURST_WITHIN = 5.0  # seconds; a few milliseconds in practice
_NUMBER = struct.Struct("!I")


@dataclass(frozen=True)
class Feed:
    """One feed that was sent: what every receiver missed of it, and how many datagrams a second that was."""

    received: dict[str, Outage]
    rate: float


def run(sender: Host, receivers: Sequence[Host], group: str, datagrams: int) -> Feed:
    """Sends a feed of so many datagrams; every receiver is a member before the first."""
    port, tag = fresh_port(), unique(TAG_SIZE)
    numbers: dict[str, list[int]] = {host.name: [] for host in receivers}
    times: list[int] = []
    with contextlib.ExitStack() as opened:
        sockets = []
        for host in receivers:
            late = [options.membership(group, host.address(), join=True)]
            chosen = [options.REUSE_ADDRESS]
            socket = host.open_socket(**options.UDP, options=chosen, bind=[group, port], late_options=late)
            sockets.append(opened.enter_context(socket))
        for first in range(0, datagrams, BURST):
            those = range(first, min(first + BURST, datagrams))
            burst = [(tag + _NUMBER.pack(number)).ljust(SIZE, b"~") for number in those]
            sender.udp.send(burst, to=group, port=port, multicast_interface=sender.address())
            waits: list[tuple[Node, Call[Any]]] = [(one.node, one.wait(burst[-1], BURST_WITHIN)) for one in sockets]
            takes = [(one.node, one.take()) for one in sockets]
            for host, (taken,) in zip(receivers, ask_all([*waits, *takes])[len(waits) :], strict=True):
                numbers[host.name] += [_number(one["payload"]) for one in taken if one["payload"].startswith(tag)]
                times += [one["time"] for one in taken]
    if not times:
        raise CheckFailed(f"{sender.name} sent {datagrams} datagrams to {group}: no host received any of them")
    received = {name: of_feed(name, heard, datagrams) for name, heard in numbers.items()}
    return Feed(received, datagrams * 1e9 / max(1, max(times) - min(times)))


def _number(datagram: bytes) -> int:
    return int(_NUMBER.unpack_from(datagram, TAG_SIZE)[0])


def of_feed(receiver: str, numbers: list[int], sent: int) -> Outage:
    """What a receiver of these numbers missed of a feed; when each of them came does not count."""
    arrivals = Arrivals(array("I", numbers), array("Q", bytes(8 * len(numbers))))
    (missed,) = judged(receiver, "multicast", [0] * sent, arrivals, [("feed", 0)])
    return missed
