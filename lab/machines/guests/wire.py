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
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from lab.machines import flow_control

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel

    from lab.machines.guests.guest import Booting

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


class GuestPipes:
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


class GuestWire(flow_control.CreditWire):
    """
    The host's end of the wire, as execnet wants an IO.  Closes both directions of `line`.

    Errors are OSErrors: broken pipe when the guest is gone, timed out when it consumes nothing for STALL seconds.
    """

    far = "guest"

    def __init__(self, line: GuestPipes, machine: Booting, execmodel: ExecModel) -> None:
        self._machine, self._acks = machine, line.acks
        line.take_over()
        reader = flow_control.GrantingReader(line.from_guest, self._grant, FROM_GUEST_ACK)
        super().__init__(execmodel, reader, line.to_guest, "<H", TO_GUEST_LIMIT)
        self._write_closed = False

    def _grant(self, count: int) -> None:
        self._acks.sendall(struct.pack("<I", count))

    def _least(self, left: int) -> int:
        if self._write_closed:
            raise BrokenPipeError(errno.EPIPE, "the line to the guest is closed")
        # Waiting for some room, rather than for any, spares the guest a system call per few bytes.
        return min(left, TO_GUEST_ACK)

    def _grants(self) -> bytes:
        waiting = select.poll()
        waiting.register(self._acks, select.POLLIN)
        deadline = time.monotonic() + STALL
        while not waiting.poll(POKE_EVERY * 1000):
            self.poke()
            if time.monotonic() > deadline:
                self._close_write()  # a message was cut in two: nothing that follows could be understood
                raise TimeoutError(errno.ETIMEDOUT, f"the guest consumed nothing for {STALL:.0f} s")
        return self._acks.recv(4096)

    def poke(self) -> None:
        """Raise an interrupt in the guest by granting it nothing; a driver that lost one looks at its lines again."""
        with contextlib.suppress(OSError):
            self._acks.send(struct.pack("<I", 0), socket.MSG_DONTWAIT)

    def close_read(self) -> None:
        """The guest's words end here."""
        self._incoming.close()

    def close_write(self) -> None:
        """Hang up: the guest reads the end of its line and powers off.  Wakes a writer that waits for credit."""
        with contextlib.suppress(OSError):  # its far end may be gone already
            self._acks.shutdown(socket.SHUT_RD)
        with self._writing:
            self._close_write()

    def _close_write(self) -> None:
        if not self._write_closed:
            self._write_closed = True
            os.close(self._line)

    def wait(self) -> int | None:
        """End the machine and return its exit status."""
        self._machine.close()
        return self._machine.exit_status

    def kill(self) -> None:
        """End the machine without a farewell."""
        self._machine.kill()
