"""
A line on credit, the same at both ends of the wire to a guest (`wire`): who writes keeps no more bytes unacknowledged
than were granted, who reads grants new ones.

Stands alone, as it runs at the far side too: standard library, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import threading
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel


class FarWire:
    """What execnet's IO at a far side need not do: everything there ends with its process."""

    def close_read(self) -> None:
        pass

    def close_write(self) -> None:
        pass

    def wait(self) -> int | None:
        return None

    def kill(self) -> None:
        pass


class GrantingReader(io.RawIOBase):
    """What the other side writes; `grant` grants it what was read, once that is `grain` bytes."""

    def __init__(self, descriptor: int, grant: Callable[[int], object], grain: int) -> None:
        self._descriptor, self._grant, self._grain = descriptor, grant, grain
        self._unacknowledged = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = os.readv(self._descriptor, [buffer])
        self._unacknowledged += count
        if self._unacknowledged >= self._grain:
            # the other side may be gone: what it wrote before is still worth reading
            with contextlib.suppress(OSError):
                self._grant(self._unacknowledged)
            self._unacknowledged = 0
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class CreditWire(FarWire):
    """Execnet's IO over a line; each end has its own way to wait for grants (`_grants`)."""

    far: str
    """Who is at the other end, for messages."""

    def __init__(self, execmodel: ExecModel, reader: GrantingReader, line: int, granted: str, limit: int) -> None:
        """`limit` bytes need no grant; `granted` is the struct format of a grant."""
        self.execmodel = execmodel
        self._incoming = io.BufferedReader(reader, 65536)
        self._line, self._granted, self._credit = line, struct.Struct(granted), limit
        self._partial_grant = b""
        self._writing = threading.Lock()

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; EOFError when the other end is gone."""
        data = self._incoming.read(size)
        if len(data) < size:
            raise EOFError(f"the {self.far} is gone: expected {size} bytes, got {len(data)}")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`, at the other end's pace."""
        view = memoryview(data)
        with self._writing:
            while view:
                while self._credit < self._least(len(view)):
                    self._take_grants()
                count = os.write(self._line, view[: min(self._credit, 32768)])
                self._credit -= count
                view = view[count:]

    def _take_grants(self) -> None:
        grants = self._grants()
        if not grants:
            raise BrokenPipeError(errno.EPIPE, f"the {self.far} is gone")
        grants = self._partial_grant + grants
        whole = len(grants) - len(grants) % self._granted.size
        self._credit += sum(count for (count,) in self._granted.iter_unpack(grants[:whole]))
        self._partial_grant = grants[whole:]

    def _least(self, left: int) -> int:
        """The credit to be waited for, of what is `left` to be written."""
        return 1

    def _grants(self) -> bytes:
        raise NotImplementedError
