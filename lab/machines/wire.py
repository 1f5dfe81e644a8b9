"""
The wire to a guest machine: execnet's IO over a serial line that must never be overfed.

    host                                     guest
    pipe ---- messages, at most 3,800 B ---> ttyS0    the guest grants credit on ttyS1 (2-byte counts)
    pipe <--- messages, at most 256 KiB ---- ttyS0    the host grants credit on ttyS1 (4-byte counts)

User-Mode Linux's serial driver loses interrupts in two ways, so both directions run on credit: a sender keeps no more
bytes unacknowledged than the other side is sure to have room for.

- To the guest: the line discipline holds 4 KiB; once it is full the driver never reads again.
- From the guest: a guest that meets a full pipe can miss the wake-up (about once in 700 MB); the pipe holds 1 MiB.

Measured with Linux 6.1: 2 MB/s to the guest (its driver reads byte by byte), 200 MB/s from it, 0.7 ms a round trip.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel

TO_GUEST_LIMIT = 3800
"""Bytes on their way to the guest that it has not acknowledged; its line discipline stops reading at 3,968."""

TO_GUEST_ACK = 1024
"""Bytes after which the guest acknowledges, and room for which the host waits: at most half of the limit."""

FROM_GUEST_LIMIT = 256 * 1024
"""Bytes on their way from the guest that the host has not acknowledged."""

FROM_GUEST_ACK = 64 * 1024
"""Bytes after which the host acknowledges what it has read."""

PIPE_SIZE = 1024 * 1024
"""Bytes that the pipe from the guest holds: as many as fs.pipe-max-size grants to an ordinary user by default."""

STALL = 30.0
"""Seconds without credit after which the guest counts as hung and a write to it fails: a host can pause it for long."""

POKE_EVERY = 1.0
"""Seconds between two interrupts that a waiting host raises in the guest."""

READY = b"\0overcast guest is ready\n"
"""What the guest writes first; before it the line would echo and cook what the host sends."""


class Machine(Protocol):
    """The wire's requests to the machine at its far end."""

    def close(self) -> None:
        """End it."""

    def kill(self) -> None:
        """End it without a farewell."""

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""


class Line:
    """The descriptors between host and guest.  The far ends are the guest's: the host closes them after the launch."""

    def __init__(self) -> None:
        self.far_input, self.to_guest = os.pipe()
        self.from_guest, self.far_output = os.pipe()
        # An ordinary user's share of pipe memory may be used up: the usual 64 KiB work too, with no headroom.
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(self.far_output, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self.acks, far = socket.socketpair()
        # The driver closes its input and its output by themselves, so each needs a descriptor of its own.
        self.far_acks = (os.dup(far.fileno()), far.detach())
        self._far_open = True
        self._taken_over = False

    @property
    def far_ends(self) -> tuple[int, ...]:
        """The descriptors that the guest inherits."""
        return (self.far_input, self.far_output, *self.far_acks)

    def close_far_ends(self) -> None:
        """Leave the far ends to the guest alone, so that its death reads as the end of the line."""
        if self._far_open:
            self._far_open = False
            for descriptor in self.far_ends:
                os.close(descriptor)

    def close(self) -> None:
        """Close every end that is still its own."""
        self.close_far_ends()
        if not self._taken_over:
            self.take_over()
            os.close(self.to_guest)
            os.close(self.from_guest)
        self.acks.close()

    def take_over(self) -> None:
        """From now on the caller closes both directions."""
        self._taken_over = True


class _FromGuest(io.RawIOBase):
    """What the guest writes; grants it new credit while reading."""

    def __init__(self, descriptor: int, acks: socket.socket) -> None:
        self._descriptor = descriptor
        self._acks = acks
        self._unacknowledged = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = os.readv(self._descriptor, [buffer])
        self._unacknowledged += count
        if self._unacknowledged >= FROM_GUEST_ACK:
            # The guest may be gone: what it wrote before is still worth reading.
            with contextlib.suppress(OSError):
                self._acks.sendall(struct.pack("<I", self._unacknowledged))
            self._unacknowledged = 0
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class GuestWire:
    """
    The host's end of the wire, as execnet wants an IO.  Closes both directions of `line`.

    Errors are OSErrors: broken pipe when the guest is gone, timed out when it consumes nothing for STALL seconds.
    """

    def __init__(self, line: Line, machine: Machine, execmodel: ExecModel) -> None:
        self.execmodel = execmodel
        self._machine = machine
        line.take_over()
        self._to_guest = line.to_guest
        self._from_guest = io.BufferedReader(_FromGuest(line.from_guest, line.acks), FROM_GUEST_ACK)
        self._acks = line.acks
        self._credit = TO_GUEST_LIMIT
        self._partial_ack = b""
        self._writing = threading.Lock()
        self._write_closed = False

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; EOFError when the guest is gone."""
        data = self._from_guest.read(size)
        if len(data) < size:
            raise EOFError(f"the guest is gone: expected {size} bytes, got {len(data)}")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`, at the guest's pace."""
        view = memoryview(data)
        with self._writing:
            while view:
                if self._write_closed:
                    raise BrokenPipeError(errno.EPIPE, "the line to the guest is closed")
                # Waiting for some room, rather than for any, spares the guest a system call per few bytes.
                if self._credit < min(len(view), TO_GUEST_ACK):
                    self._await_credit()
                    continue
                count = os.write(self._to_guest, view[: self._credit])
                self._credit -= count
                view = view[count:]

    def _await_credit(self) -> None:
        waiting = select.poll()
        waiting.register(self._acks, select.POLLIN)
        deadline = time.monotonic() + STALL
        while not waiting.poll(POKE_EVERY * 1000):
            self.poke()
            if time.monotonic() > deadline:
                self._close_write()  # a message was cut in two: nothing that follows could be understood
                raise TimeoutError(errno.ETIMEDOUT, f"the guest consumed nothing for {STALL:.0f} s")
        grants = self._acks.recv(4096)
        if not grants:
            raise BrokenPipeError(errno.EPIPE, "the guest is gone")
        grants = self._partial_ack + grants
        whole = len(grants) // 2
        self._credit += sum(struct.unpack(f"<{whole}H", grants[: 2 * whole]))
        self._partial_ack = grants[2 * whole :]

    def poke(self) -> None:
        """Raise an interrupt in the guest by granting it nothing; a driver that lost one looks at its lines again."""
        with contextlib.suppress(OSError):
            self._acks.send(struct.pack("<I", 0), socket.MSG_DONTWAIT)

    def close_read(self) -> None:
        """The guest's words end here."""
        self._from_guest.close()

    def close_write(self) -> None:
        """Hang up: the guest reads the end of its line and powers off.  Wakes a writer that waits for credit."""
        with contextlib.suppress(OSError):  # its far end may be gone already
            self._acks.shutdown(socket.SHUT_RD)
        with self._writing:
            self._close_write()

    def _close_write(self) -> None:
        if not self._write_closed:
            self._write_closed = True
            os.close(self._to_guest)

    def wait(self) -> int | None:
        """End the machine and return its exit status."""
        self._machine.close()
        return self._machine.exit_status

    def kill(self) -> None:
        """End the machine without a farewell."""
        self._machine.kill()
