"""
Processes of the agent's that send or count a load (`load`): each has one socket of a node, and answers orders.

The agent itself waits for requests of its own, and in a lab it is every host's at once: sender and receivers each need
a processor's time to themselves.  They end with the agent.
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

from lab.agent.datagrams import load
from lab.agent.execution.programs import STARTING

Work = Literal["send", "receive", "hold"]
"""`hold`: counts what the socket has room for, and reads nothing before it is asked."""
FOLDER = "/lab/agent/"
ZIP = re.compile(r"/proc/self/fd/(\d+)")
BEGIN = "import sys; sys.path.insert(0, sys.argv[3]); from lab.agent.datagrams.load import main; main()"
PYTHON = (sys.executable, "-B", "-S", "-E", "-s", "-c")
START = 10.0  # seconds for a Python to start on a busy machine


class LoadWorker:
    """One process, on the given processors (none: on any); the socket stays its node's, and its caller's to close."""

    def __init__(self, descriptor: int, work: Work, processors: Sequence[int] = ()) -> None:
        home = load.__file__.rpartition(FOLDER)[0]
        archive = ZIP.fullmatch(home)  # of a live host's agent, which has no files
        with STARTING:
            self._process = subprocess.Popen(
                [*PYTHON, BEGIN, str(descriptor), work, home, ",".join(map(str, processors))],
                pass_fds=[descriptor, *([int(archive[1])] if archive else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        self._answer(START)

    def order(self, order: dict[str, Any]) -> None:
        """Begins to work."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def answer(self, timeout: float) -> dict[str, Any]:
        """Its answer to the last order; OSError when it refuses, or gives none within `timeout` seconds."""
        answer = self._answer(timeout)
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        polled = select.poll()
        polled.register(self._process.stdout, select.POLLIN)
        said = b""
        while not said.endswith(b"\n"):
            if not polled.poll(timeout * 1000):
                raise OSError(errno.ETIMEDOUT, f"the process that sends or counts gave no answer within {timeout:g} s")
            part = self._process.stdout.read(1 << 16)
            if not part:
                raise OSError(errno.ESRCH, "the process that sends or counts has ended")
            said += part
        return dict(json.loads(said))

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        with self._process:
            self._process.wait()
