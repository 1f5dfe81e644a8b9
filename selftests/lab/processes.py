"""Processes of a run that is watched: found by a mark in their environment, waited for by event."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "OVERCAST_SELFTEST_MARK"


def ended(members: Sequence[int], deadline: float) -> list[int]:
    """Waits until the processes are gone, at most `deadline` seconds; returns those that are not."""
    left = set(members)
    until = time.monotonic() + deadline
    poller = select.poll()
    watching = {}
    for member in members:
        try:
            watching[os.pidfd_open(member)] = member
        except ProcessLookupError:
            left.discard(member)
    for descriptor in watching:
        poller.register(descriptor, select.POLLIN)
    while left and (rest := until - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(rest * 1000):
            poller.unregister(descriptor)
            left.discard(watching[descriptor])
    for descriptor in watching:
        os.close(descriptor)
    return sorted(left)


def descendants(pid: int) -> list[int]:
    """The processes that descend from one, by any of its threads."""
    pids: list[int] = []
    with contextlib.suppress(OSError):  # it, or one of its threads, has just ended
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pids += [int(word) for word in children.read_text().split()]
    return [member for child in pids for member in (child, *descendants(child))]


class Watched:
    """A pytest run of its own, with everything that it starts."""

    def __init__(self, arguments: Sequence[str], **environment: str) -> None:
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=ROOT,
            env={**os.environ, MARK: self.mark, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for_line(self, text: str) -> None:
        """Reads the output up to a line that ends with the text."""
        assert self.process.stdout is not None
        read = []
        for line in self.process.stdout:
            read.append(line)
            if line.rstrip().endswith(text):
                return
        raise AssertionError(f"the run ended before {text!r}:\n{''.join(read)}")

    def members(self) -> list[int]:
        """The processes of this host that carry the run's mark; a guest and its kernel threads among them."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes()
                except OSError:
                    continue
                if f"{MARK}={self.mark}".encode() in environment:
                    found.append(int(entry.name))
        return found

    def ended(self, members: Sequence[int], deadline: float) -> list[int]:
        """Waits until the processes are gone, at most `deadline` seconds; returns those that are not."""
        return ended(members, deadline)

    def await_end(self, deadline: float) -> None:
        """Waits until it has ended; TimeoutError when it has not within so many seconds."""
        poller = select.poll()
        descriptor = os.pidfd_open(self.process.pid)
        poller.register(descriptor, select.POLLIN)
        ended = poller.poll(deadline * 1000)
        os.close(descriptor)
        if not ended:
            raise TimeoutError

    def output(self) -> str:
        """What it wrote since the last line that was waited for, up to its end."""
        return self.process.communicate(timeout=60)[0]
