"""
A tap sees every frame on every interface of one node, with direction and kernel time (packet(7)).

One unbound AF_PACKET socket per node is enough: the kernel returns the interface with each frame.  It is
opened before any stimulus and stays open; frames are kept here, bounded, until they are requested.  How many there
was no room for is counted (`lost`): an incomplete capture proves nothing.
"""

from __future__ import annotations

import collections
import errno
import fcntl
import itertools
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from lab.agent.capture import tap_filter
from lab.agent.capture.ring import VLAN, VLAN_TYPE_VALID, VLAN_VALID, Ring, bind
from lab.agent.datagrams import message_batches, sockets

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
PACKET_OUTGOING = 4
SLOTS_ON_A_HOST, SLOTS_IN_A_LAB = 1 << 15, 1 << 14
"""
Frames of a capture's ring, where it has one: to make it waits for every CPU.  A guest holds those of all labs that
tests share.
"""
ROOM_ON_A_HOST, ROOM_IN_A_LAB = 8 << 20, 16 << 20
"""
Octets of a capture's receive buffer.  A frame counts with all of its buffer, which the captures of a lab's nodes share:
an IGMP report of 54 octets with 16 to 64 KiB, where the MTU is that of a cloud.
"""
MOST_KEPT = 1 << 16
ADDRESS = struct.Struct("=HxxiHB")  # struct sockaddr_ll: family, interface, hardware, packet type
STATISTICS = struct.Struct("=II")  # struct tpacket_stats: frames seen, frames there was no room for
INTERFACE = "=16si20x"  # struct ifreq
SIOCGIFNAME = 0x8910
HEAD = 512  # octets of a frame in which a tag is looked for: a payload begins there, whatever carries it

# interface, outgoing, kernel time in ns since the epoch, the frame from its Ethernet header on
Frame = tuple[str, bool, int, bytes]


_room = message_batches.BatchBuffers()


class Tap:
    """The capture of one node."""

    def __init__(self, room: int, slots: int = 0) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, message_batches.SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sockets.make_room(self.socket, room)  # what the limit allows is room enough for a check
        self.kept: collections.deque[Frame] = collections.deque(maxlen=MOST_KEPT)
        self._names: dict[int, str] = {}
        self._lost = 0
        self._ring = Ring(self.socket, slots) if slots else None
        self._copies: collections.deque[message_batches.ReceivedMessage] = collections.deque()
        bind(self.socket, ETH_P_ALL)

    def drain(self) -> int:
        """Reads what was captured, and returns how many frames that were."""
        count = 0
        for frame in self._queued() if self._ring is None else self._in_ring(self._ring):
            self._lost += len(self.kept) == MOST_KEPT
            self.kept.append(frame)
            count += 1
        return count

    def make_room(self) -> None:
        """Reads what was captured if it may be in the way of what comes."""
        if self._ring is None or self._ring.is_half_full:
            self.drain()

    def _queued(self) -> Iterator[Frame]:
        for frame, ancillary, source in self._messages():
            _, index, _, direction = ADDRESS.unpack_from(source)
            yield self._name(index), direction == PACKET_OUTGOING, *_whole(frame, ancillary)

    def _in_ring(self, ring: Ring) -> Iterator[Frame]:
        for slot in ring.read():
            frame = self._copy() if slot.is_copied else slot.frame
            self._lost += not (slot.is_copied or slot.is_whole)
            yield (
                self._name(slot.interface),
                slot.outgoing,
                slot.time,
                _tagged(frame, *slot.vlan) if slot.vlan else frame,
            )

    def _copy(self) -> bytes:
        """The next frame that is longer than a slot."""
        if not self._copies:
            self._copies.extend(self._receive())
        return self._copies.popleft().payload

    def _messages(self) -> Iterator[message_batches.ReceivedMessage]:
        """What is in the socket's queue."""
        read = self._receive()
        while read:
            yield from read
            read = self._receive() if len(read) == message_batches.AT_ONCE else []

    def _receive(self) -> list[message_batches.ReceivedMessage]:
        while True:
            try:
                return _room.receive(self.socket)
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # a device went: said once, and what was captured is still there
                    raise

    def _name(self, index: int) -> str:
        """The device's name, empty when there is none of that number any more; asked for once in a while."""
        if index not in self._names:
            request = struct.pack(INTERFACE, b"", index)
            try:
                answer = fcntl.ioctl(self.socket, SIOCGIFNAME, request)
            except OSError:
                return ""
            self._names[index] = answer.partition(b"\0")[0].decode()
        return self._names[index]

    def renamed(self) -> None:
        """Devices may have other names from now on; what was captured before has those of before."""
        self.drain()
        self._names.clear()

    def wait_newest(self, marker: bytes, deadline: float) -> bool:
        """Waits until a frame came in that carries a marker sent just now; False when the deadline passed."""

        def has_come(count: int) -> bool:
            newest = itertools.islice(reversed(self.kept), count)
            return any(marker in frame for _, outgoing, _, frame in newest if not outgoing)

        return self._await(has_come, deadline)

    def _await(self, done: Callable[[int], bool], deadline: float) -> bool:
        """Reads captured frames until `done`, whose argument is the number of new frames; False at the deadline."""
        poller = select.poll()
        poller.register(self.socket, select.POLLIN)
        while not done(self.drain()):
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                return False
        return True

    def forget(self) -> None:
        if self._ring is None:
            collections.deque(self._messages(), maxlen=0)
        else:
            for _ in range(self._ring.drop()):
                self._copy()
        self._names.clear()
        self.kept.clear()
        self.lost()
        self._lost = 0

    def retire(self) -> None:
        """Holds no frame and captures none any more.  The socket stays open: to close it waits for every CPU."""
        tap_filter.attach(self.socket, tap_filter.NO_FRAME)
        self.forget()
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def lost(self) -> int:
        """How many frames there was no room for since `forget`, in the kernel or here: of so many nothing is known."""
        _, dropped = STATISTICS.unpack(self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, STATISTICS.size))
        self._lost += dropped
        return self._lost

    def matching(self, tags: Sequence[bytes] | None) -> list[Frame]:
        """The frames that carry any of the tags (None: every frame) near their head, oldest first."""
        self.drain()
        if tags is None:
            return list(self.kept)
        first, last = min(tags, default=b""), max(tags, default=b"")
        shared = bytes(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last)))
        return [frame for frame in self.kept if _carries(frame[3], shared, tuple(tags))]

    def wait(
        self, interface: str, matching: Sequence[Sequence[Any]], tag: bytes, count: int, timeout: float
    ) -> list[Frame]:
        """
        Waits until `count` frames have come in on the interface that carry the tag and match every `[offset, octets]`.

        Returns those that there are, oldest first: fewer than `count` when `timeout` (s) passed first.
        """
        found: list[Frame] = []

        def are_enough(_: int) -> bool:
            found[:] = [
                frame
                for frame in self.kept
                if frame[0] == interface and not frame[1] and tag in frame[3] and _matches(frame[3], matching)
            ]
            return len(found) >= count

        self._await(are_enough, time.monotonic() + timeout)
        return found


def _carries(frame: bytes, shared: bytes, tags: tuple[bytes, ...]) -> bool:
    """Whether any of the tags, which begin with `shared`, begins near the head of the frame."""
    at = frame.find(shared, 0, HEAD) if tags else -1
    while at >= 0 and not frame.startswith(tags, at):
        at = frame.find(shared, at + 1, HEAD)
    return at >= 0


def _matches(frame: bytes, matching: Sequence[Sequence[Any]]) -> bool:
    return all(frame[offset : offset + len(octets)] == octets for offset, octets in matching)


def _whole(frame: bytes, ancillary: Sequence[Any]) -> tuple[int, bytes]:
    """Kernel time and the frame with the VLAN tag that the kernel took out of it put back."""
    when = 0
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == message_batches.SO_TIMESTAMPNS:
            when = message_batches.nanoseconds(data)
        elif level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tag, tag_type = struct.unpack("IIIHHHH", data[:20])
            if status & VLAN_VALID:
                frame = _tagged(frame, tag_type if status & VLAN_TYPE_VALID else VLAN, tag)
    return when, frame


def _tagged(frame: bytes, tag_type: int, tag: int) -> bytes:
    return frame[:12] + struct.pack("!HH", tag_type, tag) + frame[12:]
