"""
Programs that keep running inside a node: servers, routers, whatever an application brings.

    start --> the program, in the node's network stack, with an empty /run of its own and its files in it
          --> its output (standard output and error in one), read from a pipe
    stop  --> gone, with all that it started

Nothing outlives the agent: it is the first process of its kernel or of a PID namespace, on any machine where programs
are started.  The files go with the program's mount namespace.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from lab.agent import namespaces
from lab.agent.execution.programs import ENVIRONMENT, SYSTEM_PATH

READ_AT_ONCE = 1 << 16
LAST_BREATH = 2.0  # seconds that a program gets to end in order


class BackgroundProgram:
    """One program, and what it has said so far."""

    def __init__(self, stack: namespaces.Stack, arguments: Sequence[str], files: Mapping[str, str]) -> None:
        found = shutil.which(arguments[0], path=SYSTEM_PATH)
        if found is None:
            raise FileNotFoundError(2, f"{arguments[0]}: not found")
        self._output = b""
        self._awaited = 0  # up to where the output has been waited for
        self._pipe, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        failures: list[BaseException] = []
        self._process: subprocess.Popen[bytes]

        def begin() -> None:
            # the thread's namespaces are the program's, and end with the thread: it has nothing to come back to
            try:
                namespaces.enter_for_good(stack)
                self._process = subprocess.Popen(
                    [found, *arguments[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=theirs,
                    stderr=subprocess.STDOUT,
                    cwd=_furnished(files),
                    env={**os.environ, **ENVIRONMENT},
                    start_new_session=True,
                )
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        os.close(theirs)
        if failures:
            os.close(self._pipe)
            raise failures[0]

    def await_output(self, text: str, timeout: float) -> dict[str, Any]:
        """
        Waits until the program prints `text`, after what was waited for before.

        `found` False: it had not within `timeout` (s), or it had ended (`status`).
        """
        sought = text.encode()
        ended = self._read_until(lambda: sought in self._output[self._awaited :], timeout)
        at = self._output.find(sought, self._awaited)
        self._awaited = max(self._awaited, at + len(sought) if at >= 0 else 0)
        return {"found": at >= 0, "output": self.output(), "status": self._process.wait() if ended else None}

    def output(self) -> str:
        """Everything that it has said so far."""
        self._read()
        return self._output.decode(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Ends the program and what it started; returns all that it said.  Idempotent."""
        if self._pipe >= 0:
            self._signal(number)
            if number != signal.SIGKILL:
                self._read_until(lambda: False, LAST_BREATH)
                self._signal(signal.SIGKILL)  # to what is left of it
            self._process.wait()
            self._reap()
            self._read_until(lambda: False, LAST_BREATH)  # reads its last words
            os.close(self._pipe)
            self._pipe = -1
        return self._output.decode(errors="replace")

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        """Its children, killed like itself, are this process's now: it is the first one here, and must bury them."""
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-self._process.pid, 0)

    def _read_until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Reads output until `done`; True when no process is left that holds it open."""
        deadline = time.monotonic() + timeout
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        while not (ended := self._read()) and not done() and (left := deadline - time.monotonic()) > 0:
            poller.poll(left * 1000)
        return ended

    def _read(self) -> bool:
        """Reads the available output; True when no writer is left."""
        while self._pipe >= 0:
            try:
                said = os.read(self._pipe, READ_AT_ONCE)
            except BlockingIOError:
                return False
            if not said:
                return True
            self._output += said
        return True


def _furnished(files: Mapping[str, str]) -> str:
    """
    An empty /run for this thread and its children alone, with the files in it; a script is executable.

    A file with a whole path lies over the machine's own of that path.
    """
    namespaces.private_folders()
    for name, text in files.items():
        place = f"/run/{name.replace('/', '_')}"
        mode = 0o755 if text.startswith("#!") else 0o644
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
        if name.startswith("/"):
            namespaces.cover(name, place)
    return "/run"
