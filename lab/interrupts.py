"""
Interrupts (SIGINT, SIGTERM) that are raised only where the program waits, never in the middle of what it does.

    INTERRUPTS.install()               from now on a signal is noted, and the callback is called with its name
    with INTERRUPTS.raising(): ...     a noted signal is raised as KeyboardInterrupt by the next wait, or by this one
    with waiting(): ...                a wait: for an answer, an event, a process

An exception that a signal raises anywhere can cut a message in two, be swallowed by a destructor, or end the very code
that writes the results.  Where nothing is installed (a REPL, other commands), all of this does nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The signals that this process has received."""

    def __init__(self) -> None:
        self.noted = ""
        """The name of the first signal that came, empty when none has."""
        self._callback: Callable[[str], None] = lambda name: None
        self._pending = self._raising = self._anywhere = False
        self._waits = 0
        self._before: dict[signal.Signals, object] = {}

    @property
    def installed(self) -> bool:
        return bool(self._before)

    def install(self) -> None:
        """Notes signals from now on.  Call it from the main thread."""
        if not self._before:
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def uninstall(self) -> None:
        """Signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() returned
        self._before = {}

    def on_signal(self, callback: Callable[[str], None]) -> None:
        """Has the callback called with the name of each signal; at once when one has come already."""
        self._callback = callback
        if self.noted:
            callback(self.noted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = self.noted or signal.Signals(number).name
        self._pending = True
        self._callback(self.noted)
        if self._waits or self._anywhere:
            self._raise()

    def _raise(self) -> None:
        if self._pending and (self._raising or self._anywhere):
            self._pending = False
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def raising(self, *, anywhere: bool = False) -> Iterator[None]:
        """
        A noted signal ends the waits of this block.

        `anywhere` it ends the block wherever it is: for code that waits in other ways, and is undone as a whole.
        """
        before = self._raising, self._anywhere
        self._raising, self._anywhere = True, anywhere
        try:
            if anywhere:
                self._raise()
            yield
        finally:
            self._raising, self._anywhere = before

    def forget_pending(self) -> None:
        """A signal that was noted and not raised yet is not raised any more."""
        self._pending = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A wait, which a signal may end."""
        if not self._before or threading.current_thread() is not threading.main_thread():
            yield
            return
        # counted first: a signal that comes from here on is raised by its handler, one before by the next line
        self._waits += 1
        try:
            self._raise()
            yield
        finally:
            self._waits -= 1


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Signals wait until the block has ended; a process that it starts begins its life with them blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


INTERRUPTS = Interrupts()
waiting = INTERRUPTS.waiting
