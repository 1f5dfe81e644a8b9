"""
The far side of a live host's connection: execnet's worker over the input and output that sshd gave this process.

    controller --ssh--> sshd --> [sudo] --> python: START (see `ssh_link`), then this, then the agent

Imported from a zip that is in memory only (`agent_archive`).  One thread reads what the controller sends, and ends the
process at once, whatever the agent does: when the controller is gone (end of input, or a silence that no working
connection has: it sends several times as often), or a signal has come (SIGINT, SIGTERM, SIGHUP).  The programs that
the agent runs end with it, and its changes are undone by a process of its own (`agent.restoring`).
Standard library, execnet, the far side's `credit` and the agent's `programs`; Python 3.9 or newer.
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

from lab.agent.execution import programs
from lab.machines.flow_control import FarWire

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def wake_up_by_signals() -> int:
    """A descriptor that can be read once one of ENDINGS has come, wherever the interpreter is."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in ENDINGS:
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


class ControllerReader(io.RawIOBase):
    """What the controller sends.  Its silence reads as the end, and so does a signal."""

    def __init__(self, descriptor: int, signals: int, silence: float) -> None:
        self._descriptor = descriptor
        self._signals = signals
        self._silence = silence
        self._waiting = select.poll()
        self._waiting.register(descriptor, select.POLLIN)
        self._waiting.register(signals, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        ready = dict(self._waiting.poll(self._silence * 1000))
        if self._signals in ready:
            name = signal.Signals(os.read(self._signals, 1)[0]).name
            os.write(2, f"the agent received {name}\n".encode())
            return 0
        if not ready:
            return 0
        try:
            return os.readv(self._descriptor, [buffer])
        except BlockingIOError:
            return None
        except OSError:  # the connection was reset
            return 0


class SshWire(FarWire):
    """Execnet's IO; a write that makes no progress for `silence` seconds fails."""

    def __init__(self, incoming: int, outgoing: int, signals: int, silence: float, execmodel: ExecModel) -> None:
        self.execmodel = execmodel
        self._silence = silence
        self._incoming = io.BufferedReader(ControllerReader(incoming, signals, silence), 65536)
        self._outgoing = outgoing
        os.set_blocking(outgoing, False)
        self._writing = threading.Lock()

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
                if time.monotonic() > deadline:
                    raise BrokenPipeError("the controller is gone")
                if room.poll(1000):
                    with contextlib.suppress(BlockingIOError):
                        view = view[os.write(self._outgoing, view) :]
                        deadline = time.monotonic() + self._silence


class HostGateway(gateway_base.WorkerGateway):
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
        leave(0)


def leave(status: int) -> None:
    """Ends this process, and first the programs that it runs; no other is started meanwhile."""
    programs.STARTING.acquire()
    for child in _children():
        for end in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                end(child, signal.SIGKILL)
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
        wire = SshWire(incoming, outgoing, wake_up_by_signals(), silence, gateway_base.get_execmodel("thread"))
        HostGateway(io=wire, id="host", _startcount=2).serve()
    finally:
        sys.stderr.flush()
        leave(0)
