"""
A capture's ring: memory into which the kernel copies frames, and from which they are read without a system call.

    | slot | slot | ... one frame each, with a header (packet(7), PACKET_RX_RING, TPACKET_V2)

In a receive queue a frame counts with all of its buffer: an IGMP report of 54 octets with 16 KiB, where the MTU is that
of a cloud, so that 8 MiB had room for 500 of them; a hub of 50 spokes sees 10000 when all of them join a group.  Here
it takes one slot.  A frame that is longer than that is in the queue too, whole.
Source: Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

SOL_PACKET, PACKET_RX_RING, PACKET_COPY_THRESHOLD, PACKET_VERSION = 263, 5, 7, 10
TPACKET_V2 = 1
KERNELS, READY, COPIED, VLAN_VALID, VLAN_TYPE_VALID = 0, 1 << 0, 1 << 1, 1 << 4, 1 << 6
"""The status bits of a slot: its owner; that the queue has the whole frame; that its VLAN tag was taken out."""
VLAN = 0x8100  # the EtherType of a tag, unless its own is known
REQUEST = struct.Struct("=IIII")  # struct tpacket_req: size and number of blocks, size and number of slots
HEADER = struct.Struct("=IIIHHIIHH4xHHiHBB")  # struct tpacket2_hdr and the head of struct sockaddr_ll
ADDRESS = struct.Struct("=HHiHBB8x")  # struct sockaddr_ll
BLOCK, SLOT = 1 << 16, 512  # octets; a report of 20 groups (igmp_max_memberships) fits into a slot, in a tunnel too
WORDS = SLOT // 4
PART = 1024  # slots that are looked at together
OUTGOING = 4

_libc = ctypes.CDLL(None, use_errno=True)


class Slot(NamedTuple):
    """One frame as it was captured."""

    interface: int
    """Its number."""
    outgoing: bool
    time: int
    """In ns since the epoch."""
    frame: bytes
    is_whole: bool
    is_copied: bool
    """Whether the next frame in the socket's queue is this one, whole."""
    vlan: tuple[int, int] | None
    """The type and the rest of the VLAN tag that the kernel took out."""


class Ring:
    """The ring of a packet socket that is not bound yet; `slots` is a multiple of PART."""

    def __init__(self, opened: socket.socket, slots: int) -> None:
        self._socket, self._slots, self._next = opened, slots, 0
        opened.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        opened.setsockopt(SOL_PACKET, PACKET_COPY_THRESHOLD, 1)
        opened.setsockopt(SOL_PACKET, PACKET_RX_RING, REQUEST.pack(BLOCK, slots * SLOT // BLOCK, SLOT, slots))
        self._memory = mmap.mmap(opened.fileno(), slots * SLOT)
        self._words = memoryview(self._memory).cast("I")
        self._barrier = threading.Lock()

    def close(self) -> None:
        """Gives the memory back."""
        self._words.release()
        self._memory.close()
        self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, REQUEST.pack(0, 0, 0, 0))

    @property
    def is_half_full(self) -> bool:
        """Whether half of the slots hold frames that have not been read."""
        return bool(self._words[(self._next + self._slots // 2) % self._slots * WORDS] & READY)

    def read(self) -> Iterator[Slot]:
        """The frames that were captured since it was last read; a slot is the kernel's again when its frame is read."""
        for first, statuses in self._take():
            for number in range(first, first + len(statuses)):
                yield self._slot(number * SLOT)
            self._give_back(first, len(statuses))

    def drop(self) -> int:
        """Forgets what was captured; returns how many of those frames are in the queue too."""
        copied = 0
        for first, statuses in self._take():
            copied += sum(1 for status in statuses if status & COPIED)
            self._give_back(first, len(statuses))
        return copied

    def _take(self) -> Iterator[tuple[int, list[int]]]:
        """The slots that are ready, a part of the ring at a time: the number of the first, and the status of each."""
        at_end = True
        while at_end:
            first = self._next
            statuses = self._words[first * WORDS : (first // PART + 1) * PART * WORDS : WORDS].tolist()
            ready = list(itertools.takewhile(lambda status: status & READY, statuses))
            with self._barrier:  # what a slot holds is read after its status, on every processor
                self._next = (first + len(ready)) % self._slots
            yield first, ready
            at_end = len(ready) == len(statuses)

    def _give_back(self, first: int, count: int) -> None:
        with self._barrier:
            self._words[first * WORDS : (first + count) * WORDS : WORDS] = memoryview(bytes(4 * count)).cast("I")

    def _slot(self, offset: int) -> Slot:
        status, length, captured, start, _, seconds, nanoseconds, tag, tag_type, _, _, index, _, kind, _ = (
            HEADER.unpack_from(self._memory, offset)
        )
        vlan = (tag_type if status & VLAN_TYPE_VALID else VLAN, tag) if status & VLAN_VALID else None
        frame = self._memory[offset + start : offset + start + captured]
        time = seconds * 1_000_000_000 + nanoseconds
        return Slot(index, kind == OUTGOING, time, frame, captured == length, bool(status & COPIED), vlan)


def bind(opened: socket.socket, protocol: int) -> None:
    """Captures on all interfaces from now on: Python's own bind needs the name of one."""
    address = ADDRESS.pack(socket.AF_PACKET, socket.htons(protocol), 0, 0, 0, 0)
    if _libc.bind(opened.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), f"cannot bind a capture: {os.strerror(ctypes.get_errno())}")
