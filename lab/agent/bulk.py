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


class Message(NamedTuple):
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


class Received(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", Header), ("length", ctypes.c_uint))


class Room:
    """Buffers for one system call; their user copies the content before the next call."""

    def __init__(self) -> None:
        # memory that nothing has been written to is none: most messages are short
        self._payloads = mmap.mmap(-1, AT_ONCE * LARGEST)
        self._besides = mmap.mmap(-1, AT_ONCE * (CONTROL + NAME))
        payloads, ancillary = _address(self._payloads), _address(self._besides)
        self._vectors = (Vector * AT_ONCE)()
        self._received = (Received * AT_ONCE)()
        for number, (received, vector) in enumerate(zip(self._received, self._vectors)):
            header = received.header
            vector.base, vector.length = payloads + number * LARGEST, LARGEST
            header.vectors, header.vector_count = ctypes.pointer(vector), 1
            header.control = ancillary + number * (CONTROL + NAME)
            header.name = header.control + CONTROL
            _reset(header)

    def receive(self, opened: socket.socket) -> list[Message]:
        """What has arrived, `AT_ONCE` at most, without waiting: fewer than that, and there is nothing more."""
        count = LIBC.recvmmsg(opened.fileno(), self._received, AT_ONCE, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(number, os.strerror(number))
        return [self._message(number) for number in range(count)]

    def _message(self, number: int) -> Message:
        received = self._received[number]
        header = received.header
        start, control = number * LARGEST, number * (CONTROL + NAME)
        name = control + CONTROL
        found = Message(
            self._payloads[start : start + received.length],
            _ancillary(self._besides[control : control + header.control_length]),
            self._besides[name : name + header.name_length],
        )
        _reset(header)
        return found


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _reset(header: Header) -> None:
    """The kernel replaces the given length by the used one."""
    header.name_length, header.control_length = NAME, CONTROL


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
