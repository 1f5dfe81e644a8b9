"""
Route netlink, many requests in one piece.

pyroute2's message classes say what a message is; this transport only saves the round trip (and the event loop turn)
per request: a lab of three nodes is some sixty requests and is built before every disruptive test.
Sources: rtnetlink(7), linux/netlink.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_APPEND = 0x200, 0x400, 0x100, 0x800
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NLMSGERR_ATTR_MSG = 1
NLA_TYPE = 0x3FFF  # an attribute's kind without its flags
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19  # RTM_, linux/rtnetlink.h
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
GETRULE = 34
NEWQDISC, NEWTFILTER, DELTFILTER = 36, 44, 45
TCA_KIND, TCA_OPTIONS, TCA_BPF_OPS_LEN, TCA_BPF_OPS, TCA_BPF_NAME, TCA_BPF_FLAGS = 1, 2, 4, 5, 7, 8
TCA_BPF_FLAG_ACT_DIRECT = 1
CLSACT, CLSACT_PARENT, INGRESS = 0xFFFF0000, 0xFFFFFFF1, 0xFFFFFFF2
ETH_P_ALL = 3
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
EXT_MASK, SKIP_STATS = 29, 8  # IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
LARGEST = 1 << 18  # octets of one recv
SIOCGIFNAME, SIOCGIFINDEX = 0x8910, 0x8933
MOST_QUEUED = 64  # acknowledgements that fit the default receive buffer many times over

CREATE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
REPLACE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
APPEND = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND
CHANGE = NLM_F_REQUEST | NLM_F_ACK


class Transport:
    """One netlink socket in the network stack that the calling thread is in when it is made."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.socket.bind((0, 0))
        self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sequence = 0
        self._queued: list[tuple[bytes, int, str]] = []

    def close(self) -> None:
        self.socket.close()
        self._names.close()

    def index(self, device: str) -> int:
        """The interface index of a device.  What is queued is sent first: it may be what creates the device."""
        self.flush()
        request = struct.pack("16s16x", device.encode())
        try:
            reply = fcntl.ioctl(self._names, SIOCGIFINDEX, request)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise OSError(errno.ENODEV, f"device {device} does not exist") from None
            raise OSError(error.errno, f"device {device}: {error.strerror}") from None
        return int(struct.unpack_from("i", reply, 16)[0])

    def name(self, index: int) -> str:
        """The name of the device with an interface index."""
        reply = fcntl.ioctl(self._names, SIOCGIFNAME, struct.pack("=16si12x", b"", index))
        return reply[:16].rstrip(b"\0").decode()

    def queue(self, message: Any, kind: int, flags: int, what: str) -> None:
        """Queues one request; `what` names it in the error, as a user would type it."""
        message["header"]["type"] = kind
        message.encode()
        self.queue_raw(kind, flags, bytes(message.data)[16:], what)

    def queue_raw(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Queues a request that is encoded already, from its fixed header on."""
        self._sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, flags, self._sequence, 0)
        self._queued.append((head + body, self._sequence, what))
        if len(self._queued) >= MOST_QUEUED:
            self.flush()

    def forget_neighbours(self, family: int = socket.AF_INET, *, but: int = 0) -> None:
        """Drops every neighbour of the stack but those in certain states (NUD_, or-ed)."""
        for entry in self.raw_dump(GETNEIGH, struct.pack("=BxxxiHBB", family, 0, 0, 0, 0)):
            state, length = struct.unpack_from("=HxxH", entry, 8)  # the first attribute is the address, NDA_DST
            if not state & but:
                self.queue_raw(DELNEIGH, CHANGE, entry[: 12 + ((length + 3) & ~3)], "ip neigh del")
        with contextlib.suppress(OSError):  # one that went by itself meanwhile
            self.flush()

    def flush(self) -> None:
        """Sends what is queued and reads every acknowledgement; the first refusal is raised as OSError."""
        if not self._queued:
            return
        queued, self._queued = self._queued, []
        self.socket.send(b"".join(data for data, _, _ in queued))
        waiting = {sequence: what for _, sequence, what in queued}
        refusal = None
        while waiting:
            for kind, flags, sequence, payload in self._read():
                what = waiting.pop(sequence, "")
                if kind == NLMSG_ERROR and refusal is None:
                    refusal = _refusal(flags, payload, what)
        if refusal is not None:
            raise refusal

    def raw_dump(self, kind: int, request: bytes) -> list[bytes]:
        """Every object of a kind as the kernel wrote it, from its fixed header on; `request` is the fixed header."""
        self.flush()
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        self.socket.send(struct.pack("=IHHII", 16 + len(request), kind, flags, self._sequence, 0) + request)
        found: list[bytes] = []
        while True:
            for kind_read, flags_read, sequence, payload in self._read():
                if sequence != self._sequence:
                    continue
                if kind_read == NLMSG_DONE:
                    return found
                if kind_read == NLMSG_ERROR:
                    refusal = _refusal(flags_read, payload, "netlink dump")
                    if refusal is not None:
                        raise refusal
                    return found
                found.append(payload)

    def get(self, kind: int, request: bytes, what: str) -> bytes:
        """One object as the kernel wrote it, from its fixed header on; its refusal is raised as OSError."""
        self.flush()
        self._sequence += 1
        self.socket.send(struct.pack("=IHHII", 16 + len(request), kind, NLM_F_REQUEST, self._sequence, 0) + request)
        answer, flags, _, payload = self._read()[0]
        if answer == NLMSG_ERROR:
            raise _refusal(flags, payload, what)
        return payload

    def _read(self) -> list[tuple[int, int, int, bytes]]:
        return list(messages(self.socket.recv(LARGEST)))


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages in what one recv gave: kind, flags, sequence and what is behind the header."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def notices(groups: int, timeout: float) -> Iterator[bytes]:
    """
    The notices of the groups (RTMGRP_*) as they come, until `timeout` (s) has passed: first, and at the end, none.

    Each is the moment to look: at once, after every change, and for a last time.
    """
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as listening:
        listening.bind((0, groups))
        notice = b""
        while True:
            yield notice
            left = deadline - time.monotonic()
            if left <= 0:
                return
            listening.settimeout(left)
            try:
                notice = listening.recv(LARGEST)
            except socket.timeout:
                notice = b""
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                notice = b""  # more came than there was room for: a look shows what they were about


def attributes(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """The attributes of a message, or of an attribute that holds others, from an offset on: kind and value."""
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & NLA_TYPE, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")


def address(value: bytes | None) -> str | None:
    """An IPv4 or IPv6 address, or a MAC."""
    if not value:
        return None
    if len(value) == 4:
        return socket.inet_ntoa(value)
    return socket.inet_ntop(socket.AF_INET6, value) if len(value) == 16 else value.hex(":")


def filter_at(index: int, parent: int, program: Sequence[Sequence[int]], name: str) -> bytes:
    """A classifier of classic BPF whose return value is the verdict (tc-bpf(8), direct-action), at a device's hook."""
    options = attribute(TCA_BPF_OPS_LEN, struct.pack("=H", len(program)))
    options += attribute(TCA_BPF_OPS, b"".join(struct.pack("=HBBI", *step) for step in program))
    options += attribute(TCA_BPF_NAME, name.encode() + b"\0")
    options += attribute(TCA_BPF_FLAGS, struct.pack("=I", TCA_BPF_FLAG_ACT_DIRECT))
    head = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, 0, parent, socket.htons(ETH_P_ALL))
    return head + attribute(TCA_KIND, b"bpf\0") + attribute(TCA_OPTIONS, options)


def clsact(index: int) -> bytes:
    """The discipline of a device that has the hooks for filters."""
    head = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, CLSACT, CLSACT_PARENT, 0)
    return head + attribute(TCA_KIND, b"clsact\0")


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute as it stands in a message."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _refusal(flags: int, payload: bytes, what: str) -> Any:
    number = -struct.unpack_from("=i", payload)[0]
    if number == 0:
        return None
    text = os.strerror(number)
    offset = 20  # the error number and the header of the request that it answers
    while flags & NLM_F_ACK_TLVS and offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if kind == NLMSGERR_ATTR_MSG:
            text += f" ({payload[offset + 4 : offset + length].rstrip(bytes(1)).decode()})"
        offset += max(4, (length + 3) & ~3)
    return OSError(number, f"`{what}` failed: {text}")
