"""
Many messages of a socket in one system call: recvmmsg(2).

A capture reads some frames for every datagram on every leg.  One by one, each costs two system calls, and in a guest
kernel those are most of what a check of delivery takes.
Sources: recvmmsg(2), recvmsg(2), cmsg(3).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

AT_ONCE = 64
LARGEST = 1 << 17  # octets of one message: beyond what any device carries, and whole pages
CONTROL = 256  # octets of its ancillary data
NAME = 32  # octets of its source address
CMSG_HEADER = struct.Struct("@Lii")
SO_TIMESTAMPNS = 35  # of the socket, and the kind of the ancillary data with the kernel's time
STAMP = struct.Struct("qq")  # struct timespec
WORD = struct.calcsize("@L")

LIBC = ctypes.CDLL(None, use_errno=True)


class ReceivedMessage(NamedTuple):
    """One message: its payload, its ancillary data as in recvmsg(2), the source's address as in memory."""

    payload: bytes
    ancillary: Sequence[tuple[int, int, bytes]]
    source: bytes


def nanoseconds(stamp: bytes) -> int:
    """The kernel's time in ancillary data of SO_TIMESTAMPNS, in ns since the epoch."""
    seconds, rest = STAMP.unpack_from(stamp)
    return int(seconds * 1_000_000_000 + rest)


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Mmsghdr(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", Header), ("length", ctypes.c_uint))


class BatchBuffers:
    """
    Buffers for what one system call reads, or sends `to` an address; their user copies the content before the next.

    `size` octets for each payload, `control` for its ancillary data, with the source's address behind it.
    """

    def __init__(self, size: int = LARGEST, control: int = CONTROL, to: bytes = b"") -> None:
        self.size, self.stride, self._control = size, control + NAME, control
        # memory that nothing has been written to is none: most messages are short
        self.payloads = mmap.mmap(-1, AT_ONCE * size)
        self.ancillary = mmap.mmap(-1, AT_ONCE * self.stride)
        self.headers = (Mmsghdr * AT_ONCE)()
        self._vectors = (Vector * AT_ONCE)()
        self._to = ctypes.create_string_buffer(to, len(to))
        payloads, ancillary = _address(self.payloads), _address(self.ancillary)
        for number, (received, vector) in enumerate(zip(self.headers, self._vectors)):
            header = received.header
            vector.base, vector.length = payloads + number * size, size
            header.vectors, header.vector_count = ctypes.pointer(vector), 1
            if to:
                header.name, header.name_length = ctypes.addressof(self._to), len(to)
            else:
                header.control = ancillary + number * self.stride
                header.name = header.control + control
        if not to:
            self.reset(AT_ONCE)

    def reset(self, count: int) -> None:
        """The kernel replaces the given lengths by the used ones."""
        for number in range(count):
            header = self.headers[number].header
            header.name_length, header.control_length = NAME, self._control

    def receive(self, opened: socket.socket) -> list[ReceivedMessage]:
        """What has arrived, `AT_ONCE` at most, without waiting: fewer than that, and there is nothing more."""
        count = called(LIBC.recvmmsg(opened.fileno(), self.headers, AT_ONCE, socket.MSG_DONTWAIT, None))
        found = [self._message(number) for number in range(count)]
        self.reset(count)
        return found

    def _message(self, number: int) -> ReceivedMessage:
        received = self.headers[number]
        start, control = number * self.size, number * self.stride
        name = control + self._control
        return ReceivedMessage(
            self.payloads[start : start + received.length],
            _ancillary(self.ancillary[control : control + received.header.control_length]),
            self.ancillary[name : name + received.header.name_length],
        )


def called(count: int) -> int:
    """How many messages a system call has taken or given: none where it would have to wait."""
    if count < 0:
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EINTR, errno.ENOBUFS):
            return 0
        raise OSError(number, os.strerror(number))
    return count


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _ancillary(control: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    offset = 0
    while offset + CMSG_HEADER.size <= len(control):
        length, level, kind = CMSG_HEADER.unpack_from(control, offset)
        if length < CMSG_HEADER.size:
            break
        found.append((level, kind, control[offset + CMSG_HEADER.size : offset + length]))
        offset += (length + WORD - 1) & ~(WORD - 1)
    return found
