"""The caller's side of a program in a guest: its terminal or files on one hand, messages on the other."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any

from lab.commands.kept_lab.rendezvous import Connection
from lab.errors import EnvironmentProblem

WINDOW = 16  # chunks on their way that the other side has not taken; lab.agent.execution.terminal has the same
CHUNK = 4096
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH)
PATIENCE = 3
"""Interrupts after which this process ends, whatever the program does."""


def order(command: list[str]) -> dict[str, Any]:
    """What to run and how, as lab.agent.execution.terminal wants it: with a terminal when the caller has one."""
    size = None
    if sys.stdin.isatty() and sys.stdout.isatty():
        shape = os.get_terminal_size()
        size = [shape.lines, shape.columns]
    return {"arguments": command, "environment": dict(os.environ), "size": size}


def attend(connection: Connection) -> int:
    """Passes input and output until the program ends; returns its exit status."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    credit = threading.Semaphore(WINDOW)
    # blocked before the first thread, so that the one that waits for them gets them
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    threading.Thread(target=_read_input, args=(connection, credit), daemon=True).start()
    threading.Thread(target=_pass_on_signals, args=(connection,), daemon=True).start()
    with _raw_terminal(interactive):
        return _take_output(connection, credit)


def _take_output(connection: Connection, credit: threading.Semaphore) -> int:
    targets = {"o": sys.stdout.fileno(), "e": sys.stderr.fileno(), "p": sys.stderr.fileno()}
    while True:
        try:
            kind, payload = connection.receive()
        except EOFError:
            raise EnvironmentProblem(
                "the lab has ended, or its guest kernel is gone", remedy="./overcast down; ./overcast up"
            ) from None
        if kind == "x":
            return payload[0]
        if kind == "a":
            credit.release()
        elif kind in targets:
            _write(targets[kind], payload + (b"\n" if kind == "p" else b""))
            with contextlib.suppress(OSError):  # a lab that has ended is reported at the next turn
                connection.send("a")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read_input(connection: Connection, credit: threading.Semaphore) -> None:
    with contextlib.suppress(OSError):
        while True:
            credit.acquire()
            data = os.read(sys.stdin.fileno(), CHUNK)
            connection.send("i", data)
            if not data:
                return


def _pass_on_signals(connection: Connection) -> None:
    """Every signal to this process is passed on to the program."""
    interrupts = 0
    with contextlib.suppress(OSError):
        while True:
            number = signal.sigwait(PASSED_ON)
            if number == signal.SIGWINCH:
                shape = os.get_terminal_size()
                connection.send("w", struct.pack("!HH", shape.lines, shape.columns))
            else:
                interrupts += number == signal.SIGINT
                connection.send("s", bytes([number]))
            if interrupts >= PATIENCE:
                connection.hang_up()


@contextlib.contextmanager
def _raw_terminal(interactive: bool) -> Iterator[None]:
    """The far terminal echoes and edits; this one passes every key on."""
    if not interactive:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
