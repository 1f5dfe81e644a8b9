"""
Waiting for what a network stack notifies: links that transmit, ports that change, entries that come and go.

The kernel sends the notices (`rtnl.notices`); nothing polls.  Every function runs inside the stack.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from lab.agent.rtnl import GETLINK, NEWLINK, Transport, attributes, messages, notices
from lab.agent.stack import reading, routing
from lab.agent.state_verbs import READINGS

RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE = 0x1, 0x4, 0x10, 0x100, 0x400
RTMGRP_IPV4_ROUTE, RTMGRP_MDB = 0x40, 1 << 25
NOTICES = {
    "links": RTMGRP_LINK,
    "addresses": RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
    "routes": RTMGRP_IPV4_ROUTE,
    "neighbours": RTMGRP_NEIGH,
    "mdb": RTMGRP_MDB,
    "ports": RTMGRP_LINK,
}
"""The notices of changes of each reading that can be waited for."""
LOOPBACK = "lo"
IFLA_PROTINFO, IFLA_OPERSTATE, IFLA_BRPORT_STATE, IF_OPER_UP = 12, 16, 1, 6
LINK_HEADER = 16

PortStates = list[list[Any]]
"""Each as `[state, seconds since the changes were made]`: what the agent's channel carries."""


def operational(transport: Transport, devices: Sequence[str], timeout: float) -> list[str]:
    """
    Waits until the devices transmit; returns those that do not by the deadline (s).

    The kernel activates a link whose carrier came later from a work queue, and drops what is sent on it before.
    """
    indexes = {device: transport.index(device) for device in devices}
    return sorted(_left(RTMGRP_LINK, timeout, devices, lambda device: not _transmits(transport, indexes[device])))


def _left(groups: int, timeout: float, names: Sequence[str], waited_for: Callable[[str], bool]) -> list[str]:
    """Waits until nothing is waited for any more; returns of what it still is at the deadline (s)."""
    left = list(names)
    for _ in notices(groups, timeout):
        left = [name for name in left if waited_for(name)]
        if not left:
            break
    return left


def _transmits(transport: Transport, index: int) -> bool:
    """Whether a link's operational state (RFC 2863) is up."""
    link = transport.get(GETLINK, struct.pack("=BxHiII", 0, 0, index, 0, 0), "ip link show")
    return any(kind == IFLA_OPERSTATE and value[0] == IF_OPER_UP for kind, value in attributes(link, LINK_HEADER))


def local_routes(transport: Transport, addresses: Sequence[str], timeout: float) -> list[str]:
    """
    Waits until IPv6 addresses have their local routes, without which packets to them are dropped; returns the others.

    `timeout` is in seconds.  The kernel adds the route in a work queue, also where duplicate address detection is off.
    """
    return _left(
        RTMGRP_IPV6_ROUTE, timeout, addresses, lambda address: routing.device_to(transport, address) != LOOPBACK
    )


def entries(
    transport: Transport, what: str, wanted: Sequence[dict[str, Any]], present: bool, timeout: float
) -> list[int]:
    """
    Waits until a reading (`state_verbs.READINGS`) has an entry with each of the `wanted` fields, or none of them.

    A value that is a list or tuple stands for any of its own.  Returns the positions of which that does not hold at the
    deadline (s).
    """
    left: list[int] = []
    for _ in notices(NOTICES[what], timeout):
        there = list(READINGS[what](transport))
        left = [at for at, fields in enumerate(wanted) if any(_has(one, fields) for one in there) is not present]
        if not left:
            break
    return left


def _has(entry: dict[str, Any], fields: dict[str, Any]) -> bool:
    return all(
        entry[name] in value if isinstance(value, (list, tuple)) else entry[name] == value
        for name, value in fields.items()
    )


def port_states(transport: Transport, device: str, change: Callable[[], None], last: str, timeout: float) -> PortStates:
    """
    Makes a change and returns the states that a bridge port then goes through, up to `last`.

    Without the last one when `timeout` (s) passed first.  A state that is notified again is listed once.
    """
    states: PortStates = []
    received = notices(RTMGRP_LINK, timeout)
    next(received)
    began = time.monotonic()
    change()
    index = transport.index(device)
    for notice in received:
        for state in _port_states(notice, index):
            if not states or states[-1][0] != state:
                states.append([state, time.monotonic() - began])
        if states and states[-1][0] == last:
            break
    return states


def _port_states(notice: bytes, index: int) -> Iterator[str]:
    """The states of one port in a notice; the notices of a bridge have the family AF_BRIDGE."""
    for kind, _, _, body in messages(notice):
        family, found = struct.unpack_from("=Bxxxi", body)
        if kind == NEWLINK and family == socket.AF_BRIDGE and found == index:
            info = dict(attributes(dict(attributes(body, LINK_HEADER)).get(IFLA_PROTINFO, b""), 0))
            if IFLA_BRPORT_STATE in info:
                yield reading.PORT_STATES[info[IFLA_BRPORT_STATE][0]]
