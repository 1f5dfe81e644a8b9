"""
Sockets that live in a node: opened while the thread is inside the node's stack, used from outside of it.

A namespaced socket stays where it was opened, so one loop polls the sockets of every node together.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

from lab.agent.datagrams.message_batches import SO_TIMESTAMPNS, nanoseconds

SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 4 << 20
"""Octets.  The kernel counts what a NIC allocated per frame, which at a jumbo MTU is 16 KiB for the shortest one: with
the default buffer, the fourteenth datagram in a row is lost here and not on its way."""
IP_PKTINFO, IP_RECVTOS, IP_RECVTTL = 8, 13, 12
IP_TOS, IP_TTL = 1, 2
IP_MULTICAST_IF, IP_JOIN, IP_JOIN_SOURCE, IPV6_JOIN = 32, 35, 39, 20
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 49, 50, 51, 52
RECEIVING = {
    int(socket.AF_INET): (socket.IPPROTO_IP, (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS)),
    int(socket.AF_INET6): (socket.IPPROTO_IPV6, (IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT)),
}
"""By family, the options that add a packet's destination, TTL and TOS to its ancillary data."""
LARGEST = 65536 + 64
ROOM_FOR_ANCILLARY = 512

Received = dict[str, Any]


class SocketKind(TypedDict):
    """The first arguments of socket(2), as plain numbers: enumerations do not travel."""

    family: int
    type: int
    protocol: int


class Opening(SocketKind, total=False):
    """How a socket is opened; `late_options` are set after bind (memberships)."""

    options: Sequence[tuple[int, int, Any]]
    device: str | None
    bind: Sequence[Any] | None
    connect: Sequence[Any] | None
    listen: int
    late_options: Sequence[tuple[int, int, Any]]


class Endpoint:
    """An open socket and what it has received so far."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.inbox: list[Received] = []

    def drain(self) -> list[Received]:
        """Reads all that has arrived into the inbox, without waiting; returns what is new."""
        fresh: list[Received] = []
        while True:
            try:
                payload, ancillary, flags, source = self.socket.recvmsg(LARGEST, ROOM_FOR_ANCILLARY)
            except BlockingIOError:
                break
            except OSError as error:
                fresh.append({"payload": b"", "source": None, "error": error.errno or errno.EIO})
                break
            fresh.append(_describe(payload, ancillary, flags, source))
            if not payload and self.socket.type == socket.SOCK_STREAM:
                break
        self.inbox += fresh
        return fresh


def _describe(payload: bytes, ancillary: Sequence[Any], flags: int, source: Any) -> Received:
    received: Received = {"payload": payload, "source": list(source[:2]) if source else None}
    if flags & socket.MSG_TRUNC:
        received["truncated"] = True
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            received["time"] = nanoseconds(data)
        elif level == socket.IPPROTO_IP and kind == IP_TTL:
            received["ttl"] = struct.unpack("i", data[:4])[0]
        elif level == socket.IPPROTO_IP and kind == IP_TOS:
            received["tos"] = data[0]
        elif level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            index, _, destination = struct.unpack("I4s4s", data[:12])
            received["index"], received["destination"] = index, socket.inet_ntoa(destination)
        elif level == socket.IPPROTO_IPV6 and kind == IPV6_HOPLIMIT:
            received["ttl"] = struct.unpack("i", data[:4])[0]
        elif level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
            destination, index = struct.unpack("16sI", data[:20])
            received["index"], received["destination"] = index, socket.inet_ntop(socket.AF_INET6, destination)
    return received


def open_endpoint(
    family: int,
    type: int,
    protocol: int,
    options: Sequence[tuple[int, int, Any]] = (),
    device: str | None = None,
    bind: Sequence[Any] | None = None,
    connect: Sequence[Any] | None = None,
    listen: int = 0,
    late_options: Sequence[tuple[int, int, Any]] = (),
) -> Endpoint:
    """Opens a socket in the stack that the thread is in."""
    opened = socket.socket(family, type | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        if family in RECEIVING and type != socket.SOCK_STREAM:
            make_room(opened, RECEIVE_BUFFER)
            opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            level, described = RECEIVING[family]
            for option in described:
                opened.setsockopt(level, option, 1)
        for level, option, value in options:
            set_option(opened, level, option, value)
        if device is not None:
            with naming(f"bind to device {device}"):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if bind is not None:
            with naming(f"bind to {' port '.join(map(str, bind[:2]))}"):
                opened.bind(tuple(bind))
        for level, option, value in late_options:
            set_option(opened, level, option, value)
        if listen:
            opened.listen(listen)
        if connect is not None:
            number = opened.connect_ex(tuple(connect))
            if number not in (0, errno.EINPROGRESS):
                raise OSError(number, "connect")
    except BaseException:
        opened.close()
        raise
    return Endpoint(opened)


def set_option(opened: socket.socket, level: int, option: int, value: Any) -> None:
    """Setsockopt(2); an error names the group or address."""
    with naming(_words(level, option, value)):
        opened.setsockopt(level, option, value)


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """The kernel's refusals in the block name what was refused: a verb and its objects."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot {what}: {os.strerror(error.errno or errno.EIO)}") from None


def _words(level: int, option: int, value: Any) -> str:
    if level == socket.IPPROTO_IP and option in (IP_JOIN, IP_JOIN_SOURCE) and len(value) >= 8:
        return f"join {socket.inet_ntoa(value[:4])} on {socket.inet_ntoa(value[4:8])}"
    if level == socket.IPPROTO_IP and option == IP_MULTICAST_IF and len(value) == 4:
        return f"send multicast from {socket.inet_ntoa(value)}"
    if level == socket.IPPROTO_IPV6 and option == IPV6_JOIN and len(value) >= 16:
        return f"join {socket.inet_ntop(socket.AF_INET6, value[:16])}"
    return f"socket option {option} of level {level}"


def make_room(opened: socket.socket, octets: int) -> None:
    """Gives a socket a receive buffer, or as much of it as is allowed."""
    # beyond rmem_max only the initial user namespace may go
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
    with contextlib.suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, octets)


def wait_until(endpoints: Sequence[Endpoint], done: Any, timeout: float) -> bool:
    """
    Drains the endpoints as they become readable until `done()` holds.

    `timeout` in seconds is the one deadline; returns False when it passed first.
    """
    deadline = time.monotonic() + timeout
    poller = select.poll()
    by_descriptor = {}
    for endpoint in endpoints:
        endpoint.drain()
        by_descriptor[endpoint.socket.fileno()] = endpoint
        poller.register(endpoint.socket, select.POLLIN)
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        for descriptor, events in poller.poll(left * 1000):
            fresh = by_descriptor[descriptor].drain()
            if not fresh and events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                poller.unregister(descriptor)
    return True


def writable(endpoint: Endpoint, timeout: float) -> int:
    """Waits for a connect to end; returns its errno (0: connected, ETIMEDOUT: the deadline passed first)."""
    poller = select.poll()
    poller.register(endpoint.socket, select.POLLOUT)
    if not poller.poll(timeout * 1000):
        return errno.ETIMEDOUT
    return endpoint.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
