"""
One program inside a node, with its input and output over a channel as they come: what a user types and sees.

Messages both ways are `(kind, bytes)`:

    to the program      i input (empty: its end)   w rows and columns of the terminal   s a signal   a output was taken
    from the program    o output   e errors   a input was taken   x exit status   p why it could not be started

Each side sends at most WINDOW chunks that the other has not said it took, so that a slow reader slows the writer
and costs no memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import queue
import select
import signal
import struct
import subprocess
import termios
import threading
from typing import Any

from lab.agent import namespaces

WINDOW = 16
CHUNK = 16384
NOT_FOUND, NOT_EXECUTABLE = 127, 126
FAREWELL = 1.0  # seconds that a program gets to end by itself when its user has left


def serve(channel: Any) -> None:
    """Runs the program that the first message orders: namespace, arguments, environment, terminal size."""
    order = json.loads(channel.receive())  # JSON keeps what is not UTF-8 in arguments and environment
    try:
        program = TerminalProgram(channel, **order)
    except OSError as error:
        name = error.filename or order["arguments"][0]
        channel.send(("p", f"{name}: {error.strerror}".encode()))
        channel.send(("x", bytes([NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE])))
        return
    program.attend()


class TerminalProgram:
    """A program that runs; with a terminal of its own when `size` is given."""

    def __init__(
        self,
        channel: Any,
        namespace: str,
        arguments: list[str],
        environment: dict[str, str],
        size: list[int] | None,
    ) -> None:
        self._channel = channel
        self._over = False
        self._credit = threading.Semaphore(WINDOW)
        self._input: queue.Queue[bytes] = queue.Queue()
        stack = namespaces.Stack("", os.open(namespace, os.O_RDONLY | os.O_CLOEXEC))
        with stack.entered():
            if size is None:
                self._start_piped(arguments, environment)
            else:
                self._start_in_terminal(arguments, environment, size)
        stack.close()
        self._pidfd = os.pidfd_open(self.pid)

    def _start_piped(self, arguments: list[str], environment: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(
            arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
        assert self._popen.stdin
        assert self._popen.stdout
        assert self._popen.stderr
        self.pid = self._popen.pid
        self._to_program = os.dup(self._popen.stdin.fileno())
        self._popen.stdin.close()
        self._outputs = {self._popen.stdout.fileno(): "o", self._popen.stderr.fileno(): "e"}
        self._terminal = False

    def _start_in_terminal(self, arguments: list[str], environment: dict[str, str], size: list[int]) -> None:
        self.pid, terminal = pty.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so
                    signal.signal(number, signal.SIG_DFL)
                os.execvpe(arguments[0], arguments, environment)
            except OSError as error:
                os.write(2, f"{arguments[0]}: {error.strerror}\n".encode())
            finally:
                os._exit(NOT_FOUND)
        self._to_program = terminal
        self._outputs = {terminal: "o"}
        self._terminal = True
        self._resize(struct.pack("!HH", *size))

    def attend(self) -> None:
        """Passes messages until the program has ended and its user has the status, or its user has left."""
        threading.Thread(target=self._write, daemon=True).start()
        threading.Thread(target=self._report, daemon=True).start()
        try:
            while True:
                kind, payload = self._channel.receive()
                if kind == "i":
                    self._input.put(payload)
                elif kind == "a":
                    self._credit.release()
                elif kind == "w" and self._terminal:
                    self._resize(payload)
                elif kind == "s":
                    self._signal(payload[0])
        except EOFError:
            self._end()

    def _resize(self, size: bytes) -> None:
        rows, columns = struct.unpack("!HH", size)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._to_program, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _end(self) -> None:
        if self._over:
            return
        self._credit.release(2 * WINDOW)
        self._signal(signal.SIGHUP)
        waiting = select.poll()
        waiting.register(self._pidfd, select.POLLIN)
        waiting.poll(FAREWELL * 1000)
        self._signal(signal.SIGKILL)

    def _write(self) -> None:
        """Feeds the program; what it no longer wants is dropped."""
        while True:
            data = self._input.get()
            if not data and not self._terminal:
                os.close(self._to_program)
                return
            with contextlib.suppress(OSError):
                while data:
                    data = data[os.write(self._to_program, data) :]
            with contextlib.suppress(OSError, EOFError):
                self._channel.send(("a", b""))

    def _report(self) -> None:
        """Sends the output until the program has ended and all that it wrote is sent, then its status."""
        with contextlib.suppress(OSError, EOFError):
            self._send_output()
        self._over = True
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError, EOFError):
            self._channel.send(("x", bytes([code if code >= 0 else 128 - code])))

    def _send_output(self) -> None:
        waiting = select.poll()
        waiting.register(self._pidfd, select.POLLIN)
        for descriptor in self._outputs:
            waiting.register(descriptor, select.POLLIN)
        ended = False
        while True:
            # descendants may keep the output open: once the program itself has ended, only what is there counts
            ready = [descriptor for descriptor, _ in waiting.poll(0 if ended else None)]
            if self._pidfd in ready:
                waiting.unregister(self._pidfd)
                ended = True
            for descriptor in ready:
                if descriptor != self._pidfd and not self._pass_on(descriptor):
                    waiting.unregister(descriptor)
            if ended and not ready:
                return

    def _pass_on(self, descriptor: int) -> bool:
        """One chunk; False at the end of that output."""
        try:
            data = os.read(descriptor, CHUNK)
        except OSError:  # a terminal whose last program has left returns EIO
            return False
        if data:
            self._credit.acquire()
            self._channel.send((self._outputs[descriptor], data))
        return bool(data)
