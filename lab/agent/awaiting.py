"""
Waiting for what a network stack notifies: links that transmit, are gone or change as ports; addresses, neighbours.

The kernel sends the notices (`rtnl.notices`); nothing polls.  Every function runs inside the stack.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from lab.agent import procfs, reading, routing
from lab.agent.rtnl import GETLINK, NEWLINK, Transport, attributes, messages, notices

RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE = 0x1, 0x4, 0x10, 0x100, 0x400
LOOPBACK = "lo"
IFLA_PROTINFO, IFLA_OPERSTATE, IFLA_BRPORT_STATE, IF_OPER_UP = 12, 16, 1, 6
LINK_HEADER = 16
LINK_SCOPE = 0x20  # if_inet6: IPV6_ADDR_LINKLOCAL
NOT_USABLE = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED

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


def gone(transport: Transport, devices: Sequence[str], timeout: float) -> list[str]:
    """Waits until the devices are no more; returns those that still are at the deadline (s)."""
    return sorted(_left(RTMGRP_LINK, timeout, devices, lambda device: _exists(transport, device)))


def _exists(transport: Transport, device: str) -> bool:
    try:
        transport.index(device)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    return True


def held(transport: Transport, address: str, wanted: bool, timeout: float) -> bool:
    """Waits until the stack has an IPv4 address, or has it no more; False when the deadline (s) passed first."""
    return any(
        any(entry["local"] == address for entry in reading.addresses(transport)) is wanted
        for _ in notices(RTMGRP_IPV4_IFADDR, timeout)
    )


def neighbour(transport: Transport, device: str, to: str, states: Sequence[str], timeout: float) -> str:
    """
    Waits until a neighbour is in one of the states; returns its state, "" when there is none.

    When `timeout` (s) passes first, the state is another one.
    """
    state = ""
    for _ in notices(RTMGRP_NEIGH, timeout):
        found = (one["state"] for one in reading.neighbours(transport) if (one["dev"], one["dst"]) == (device, to))
        state = next(found, "")
        if state in states:
            break
    return state


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


def link_local(device: str, timeout: float) -> bool:
    """
    Waits until a device has an IPv6 link-local address that can be used; False when `timeout` (s) passed first.

    The kernel ends duplicate address detection in a work queue, also where it is off.
    """
    return any(
        _is_usable(line.split(), device)
        for _ in notices(RTMGRP_IPV6_IFADDR, timeout)
        for line in procfs.read_net("if_inet6").splitlines()
    )


def _is_usable(words: Sequence[str], device: str) -> bool:
    _, _, _, scope, flags, name = words
    return name == device and int(scope, 16) == LINK_SCOPE and not int(flags, 16) & NOT_USABLE
