"""
The far side of a live host's connection: execnet's worker over the input and output that sshd gave this process.

    controller --ssh--> sshd --> [sudo] --> python: START (see `ssh_link`), then this, then the agent

Imported from a zip that is in memory only (`luggage`).  When the controller is gone (end of input, or a silence that no
working connection has: it speaks several times as often), or this process is told to end (SIGTERM, SIGHUP), the agent
is interrupted once and gets FAREWELL seconds to put back what it has changed; then the process ends, and the programs
that it runs with it.
Standard library and execnet, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from execnet import gateway_base

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel

FAREWELL = 30.0
"""Seconds that the agent gets to put things back before the process ends whatever it does."""

AGAIN = 0.1
"""Seconds after which an interrupt that may not have been heard is repeated."""

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_once(number: int, wire: Wire) -> None:
    """Raises KeyboardInterrupt in the main thread, the first time: what then puts things back is left in peace."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    if not wire.over:
        os.write(2, f"the agent was told to end by {signal.Signals(number).name}\n".encode())
        # the end of the connection is all that the controller is to hear: no answer is to be expected
        wire.over = True
    raise KeyboardInterrupt


class Reader(io.RawIOBase):
    """What the controller sends.  Its silence reads as the end."""

    def __init__(self, descriptor: int, silence: float) -> None:
        self._descriptor = descriptor
        self._silence = silence
        self._waiting = select.poll()
        self._waiting.register(descriptor, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        if not self._waiting.poll(self._silence * 1000):
            return 0
        try:
            return os.readv(self._descriptor, [buffer])
        except BlockingIOError:
            return None
        except OSError:  # the connection was reset
            return 0


class Wire:
    """Execnet's IO; a write that makes no progress for `silence` seconds fails, and so does every one after the end."""

    def __init__(self, incoming: int, outgoing: int, silence: float, execmodel: ExecModel) -> None:
        self.execmodel = execmodel
        self._silence = silence
        self._incoming = io.BufferedReader(Reader(incoming, silence), 65536)
        self._outgoing = outgoing
        os.set_blocking(outgoing, False)
        self._writing = threading.Lock()
        self.over = False

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            # None: nothing there after all (the descriptor does not block)
            more = self._incoming.read(size - len(data))
            if more == b"":
                raise EOFError(f"the controller is gone: expected {size} bytes, got {len(data)}")
            data += more or b""
        return data

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with self._writing:
            room = select.poll()
            room.register(self._outgoing, select.POLLOUT)
            deadline = time.monotonic() + self._silence
            while view:
                if self.over or time.monotonic() > deadline:
                    raise BrokenPipeError("the controller is gone")
                if room.poll(1000):
                    with contextlib.suppress(BlockingIOError):
                        view = view[os.write(self._outgoing, view) :]
                        deadline = time.monotonic() + self._silence

    def close_read(self) -> None:
        pass

    def close_write(self) -> None:
        pass

    def wait(self) -> None:
        return None

    def kill(self) -> None:
        pass


class Gateway(gateway_base.WorkerGateway):
    """One agent, run by the main thread: its end is the end of the process."""

    def executetask(self, item: Any) -> None:
        main = threading.current_thread() is threading.main_thread()
        try:
            super().executetask(item)
        finally:
            if main:
                leave(0)

    def _terminate_execution(self) -> None:
        # called by the receiving thread when the controller has said goodbye or is gone
        self._io.over = True  # type: ignore[attr-defined]
        main = threading.main_thread()
        deadline = time.monotonic() + FAREWELL
        while main.is_alive() and time.monotonic() < deadline:
            # a real signal: it also wakes the thread from a system call.  One that comes just before a wait begins does
            # not end it, so that it is sent again; once it was heard, the next ones are ignored.
            signal.pthread_kill(main.ident or 0, signal.SIGINT)
            main.join(AGAIN)
        leave(1)


def leave(status: int) -> None:
    """Ends this process, and first the programs that it runs: an interrupt can come just when one was born."""
    with contextlib.suppress(OSError):
        for child in _children():
            os.kill(child, signal.SIGKILL)
    os._exit(status)


def _children() -> list[int]:
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # pid (name) state parent ...: a name may hold anything
                if int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(entry.name))
    return found


def main(silence: float) -> None:
    """Serves until the controller is gone; `silence` is the number of seconds without a word that say so."""
    os.chdir("/")  # the user's home can be unmounted meanwhile
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)  # what anything here prints must not meet the protocol
    os.close(null)
    try:
        wire = Wire(incoming, outgoing, silence, gateway_base.get_execmodel("thread"))
        for ending in ENDINGS:
            signal.signal(ending, lambda number, frame: interrupt_once(number, wire))
        Gateway(io=wire, id="host", _startcount=2).serve()
    finally:
        sys.stderr.flush()
        leave(0)
