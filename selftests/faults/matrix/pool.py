"""Runs of pytest in processes beside this one, some at a time, each process used again and again."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 240  # seconds for one run; 20 in practice
# a run that waits for what is lost needs no processor
WORKERS = 2 * (os.cpu_count() or 1)

Run = Callable[[Sequence[str]], str]
"""Runs pytest with arguments; returns what it printed."""

Result = TypeVar("Result")


class Pool:
    """Runs what is submitted, `WORKERS` at a time; the first that was submitted first."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS)
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for _ in range(WORKERS):
            self._idle.put(Worker())

    def submit(self, of: Callable[[Run], Result]) -> Future[Result]:
        """Return what `of` makes of the runs that it requests, when it is its turn."""

        def work() -> Result:
            worker = self._idle.get()
            try:
                return of(worker.run)
            finally:
                self._idle.put(worker)

        return self._threads.submit(work)

    def close(self) -> None:
        """Ends the processes; what has not begun is not run."""
        self._threads.shutdown(cancel_futures=True)
        for _ in range(WORKERS):
            self._idle.get().close()


class Worker:
    """One process (`worker`), made when it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, arguments: Sequence[str]) -> str:
        if self._process is None:
            self._process = _started()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(list(arguments)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which reads as its answer
        waiting = select.poll()
        waiting.register(self._process.stdout, select.POLLIN)
        if waiting.poll(DEADLINE * 1000) and (line := self._process.stdout.readline()):
            return str(json.loads(line))
        self.close()
        return f"no end within {DEADLINE} s, or the process that ran it died"

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "selftests.faults.matrix.worker"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SUDO_"))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def pool() -> Iterator[Pool]:
    """A pool for the length of a block."""
    made = Pool()
    try:
        yield made
    finally:
        made.close()
