"""
Waiting for what a network stack tells of itself: a neighbour that is found or given up, a bridge port that changes.

The kernel sends the notices (rtnetlink(7), the groups RTMGRP_NEIGH and RTMGRP_LINK); nobody polls.
Sources: linux/neighbour.h, linux/if_bridge.h, linux/if_link.h.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Callable

from lab.agent import procfs
from lab.agent.rtnl import GETNEIGH, Transport

RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV6_IFADDR = 1, 4, 0x100
NEWLINK = 16
NDA_DST, IFLA_PROTINFO, IFLA_BRPORT_STATE = 1, 12, 1
NLA_TYPE = 0x3FFF
LINK_SCOPE = 0x20  # if_inet6: IPV6_ADDR_LINKLOCAL
NOT_USABLE = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED
HEADER, LINK_HEADER, NEIGHBOUR_HEADER = 16, 16, 12
LARGEST = 1 << 16

PortStates = list[list[float]]
"""Each as `[state, seconds since the changes were asked for]`: what the agent's channel carries."""


def neighbour(transport: Transport, device: str, to: str, states: int, timeout: float) -> int:
    """
    Waits until an IPv4 neighbour is in one of the states (NUD_, or-ed) and returns its state; 0 when there is none.

    When `timeout` (s) passes first, the state is another one.  Runs inside the stack.
    """
    deadline = time.monotonic() + timeout
    index, address = transport.index(device), socket.inet_aton(to)
    with _notices(RTMGRP_NEIGH) as notices:
        while True:
            state = _neighbour_state(transport, index, address)
            if state & states or not _next(notices, deadline):
                return state


def port_states(transport: Transport, device: str, change: Callable[[], None], last: int, timeout: float) -> PortStates:
    """
    Makes a change and returns the states (BR_STATE_) that a bridge port then goes through, up to `last`.

    Without the last one when `timeout` (s) passed first.  A state that is told again is listed once.  Runs inside the
    stack.
    """
    states: PortStates = []
    with _notices(RTMGRP_LINK) as notices:
        began = time.monotonic()
        change()
        index = transport.index(device)
        while not (states and states[-1][0] == last):
            told = _next(notices, began + timeout)
            if not told:
                break
            for state in _port_states(told, index):
                if not states or states[-1][0] != state:
                    states.append([state, time.monotonic() - began])
    return states


def link_local(device: str, timeout: float) -> bool:
    """
    Waits until a device has an IPv6 link-local address that can be used; False when `timeout` (s) passed first.

    The kernel ends duplicate address detection in a work queue, also where it is off.  Runs inside the stack.
    """
    deadline = time.monotonic() + timeout
    with _notices(RTMGRP_IPV6_IFADDR) as notices:
        while True:
            if any(_is_usable(line.split(), device) for line in procfs.read_net("if_inet6").splitlines()):
                return True
            if not _next(notices, deadline):
                return False


def _is_usable(words: Sequence[str], device: str) -> bool:
    _, _, _, scope, flags, name = words
    return name == device and int(scope, 16) == LINK_SCOPE and not int(flags, 16) & NOT_USABLE


def _notices(groups: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    opened.bind((0, groups))
    return opened


def _next(notices: socket.socket, deadline: float) -> bytes:
    """The next notice; empty when the deadline passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        return b""
    notices.settimeout(left)
    try:
        return notices.recv(LARGEST)
    except socket.timeout:
        return b""


def _neighbour_state(transport: Transport, index: int, address: bytes) -> int:
    request = struct.pack("=BxxxiHBB", socket.AF_INET, 0, 0, 0, 0)
    for entry in transport.raw_dump(GETNEIGH, request):
        found, state = struct.unpack_from("=iH", entry, 4)
        if found == index and (NDA_DST, address) in _attributes(entry, NEIGHBOUR_HEADER):
            return int(state)
    return 0


def _port_states(data: bytes, index: int) -> Iterator[int]:
    """The states of one port in a notice; a bridge tells of its ports with the family AF_BRIDGE."""
    for kind, body in _messages(data):
        family, found = struct.unpack_from("=Bxxxi", body)
        if kind == NEWLINK and family == socket.AF_BRIDGE and found == index:
            for attribute, value in _attributes(body, LINK_HEADER):
                if attribute == IFLA_PROTINFO:
                    yield from (octets[0] for name, octets in _attributes(value, 0) if name == IFLA_BRPORT_STATE)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + HEADER <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        yield kind, data[offset + HEADER : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes, offset: int) -> Sequence[tuple[int, bytes]]:
    found = []
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found.append((kind & NLA_TYPE, data[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return found
