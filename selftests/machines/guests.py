"""Guests for tests: what is asked of them, the processes that they are made of, owners that can be killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import execnet
import pytest

from lab.machines.guests import guest

DEADLINE = 10.0  # seconds; bounds what a failure costs, no success waits for it
MISSING = guest.available()
NEEDED = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
CHECKOUT = Path(guest.__file__).parents[3]


def ask(gateway: execnet.Gateway, source: str, *, timeout: float = DEADLINE) -> object:
    """What `source`, run in the guest, sends first."""
    return gateway.remote_exec(textwrap.dedent(source)).receive(timeout)


class Family:
    """The processes on the host that make up a guest, held so that their end can be awaited."""

    def __init__(self, booting_pid: int) -> None:
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        self.pids = [booting_pid]
        for pid in self.pids:  # grows while it is walked: the children's children
            self.pids += children.get(pid, [])
        self._descriptors = []
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                self._descriptors.append(os.pidfd_open(pid))

    def stop(self) -> None:
        """Let the guest's kernel stand still."""
        for pid in self.pids:
            if Path(f"/proc/{pid}/comm").read_text().startswith("linux.uml"):
                os.kill(pid, signal.SIGSTOP)

    def named_files(self) -> set[Path]:
        """The files that the guest has open in places for temporary files and that still have a name."""
        places = tuple({"/dev/shm/", "/tmp/", "/var/tmp/", f"{tempfile.gettempdir()}/"})
        found = set()
        for pid in self.pids:
            with contextlib.suppress(OSError):
                found |= {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        return {Path(name) for name in found if name.startswith(places) and not name.endswith("(deleted)")}

    def await_end(self) -> None:
        """Return when the last of them has ended."""
        deadline = time.monotonic() + DEADLINE
        for descriptor in self._descriptors:
            ended = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
            os.close(descriptor)
            assert ended, f"something of the guest was left behind: one of {self.pids}"


class Owner:
    """A process that boots a guest and reports it; its output arrives line by line."""

    def __init__(self, source: str, *command: str, checkout: Path = CHECKOUT) -> None:
        installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        prologue = f"import sys; sys.dont_write_bytecode = True; sys.path[:0] = {[str(checkout), *installed]!r}\n"
        self.process = subprocess.Popen(
            [*(command or (sys.executable,)), "-c", prologue + textwrap.dedent(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line of output; all of it if that is a traceback."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        return line + self.process.stdout.read() if line.startswith("Traceback") else line


BOOT = """
    import execnet
    from lab.machines.guests import guest
    booting = guest.Booting()
    print(booting.pid, flush=True)
    gateway = booting.gateway(execnet.Group(), "guest")
"""
