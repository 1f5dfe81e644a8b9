"""
How tests run pytest in a process of its own.

    run(...)    --arguments, environment, descriptors--> server --fork--> pytest, as `python -m pytest` runs it
    start(...)  <------------ PID, exit status ---------

The server has loaded pytest, the plugins, the suite's tests, scapy and the templates, which every run would load for
two seconds.  It serves several runs at the same time.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from lab.agent import namespaces
from lab.machines.live import agent_archive
from lab.probes import payloads
from lab.probes.capture import layers
from reports.html.page import templates

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ("-p", "no:cacheprovider", "-p", "no:allure_pytest")
"""Without this checkout's cache, and without results for Allure: a fifth of the time, and nothing reads them."""
LARGEST = 1 << 17
"""Bytes of a request, most of them the environment."""
STARTING = threading.Lock()
"""Held while the server is started, so that two threads start one."""
DESCRIPTORS = 4
"""Of a request at most: where its status goes, stdout, stderr and a network namespace."""


def run(
    *arguments: str, timeout: float | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs pytest with OPTIONS and arguments in the checkout, in this process's or another environment, to its end."""
    outputs = [os.memfd_create(name) for name in ("stdout", "stderr")]
    try:
        started = Started(arguments, outputs, environment)
        try:
            status = started.wait(timeout)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            raise
        printed = [os.pread(output, os.fstat(output).st_size, 0).decode() for output in outputs]
    finally:
        for output in outputs:
            os.close(output)
    return subprocess.CompletedProcess(["pytest", *OPTIONS, *arguments], status, *printed)


def start(*arguments: str, inside: Path | None = None) -> Printing:
    """Starts such a run in a session of its own, and `inside` a network namespace."""
    return Printing(arguments, inside)


class Started:
    """A run, with the names that a subprocess.Popen has."""

    def __init__(
        self,
        arguments: Sequence[str],
        outputs: Sequence[int],
        environment: Mapping[str, str] | None = None,
        *,
        own_session: bool = False,
    ) -> None:
        self._status, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        variables = dict(os.environ if environment is None else environment)
        request = {"arguments": [*OPTIONS, *arguments], "environment": variables, "own_session": own_session}
        with far:
            _server().request(json.dumps(request).encode(), [far.fileno(), *outputs])
        pid, (self._process,), *_ = socket.recv_fds(self._status, LARGEST, 1)
        self.pid = int(pid)
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = int(self._status.recv(LARGEST))
            except TimeoutError:
                raise subprocess.TimeoutExpired(["pytest"], timeout or 0) from None
            self._status.close()
            os.close(self._process)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Printing(Started):
    """A run whose output, stderr included, is read while it goes on."""

    def __init__(self, arguments: Sequence[str], inside: Path | None) -> None:
        self._reading, writing = os.pipe()
        self._read = b""
        given = [writing, writing]
        if inside is not None:
            given.append(os.open(inside, os.O_RDONLY))
        try:
            super().__init__(arguments, given, own_session=True)
        finally:
            for descriptor in {*given}:
                os.close(descriptor)

    def lines(self) -> Iterator[str]:
        """Its output up to its end; the lines after the one at which the caller stops are those of the next call."""
        while True:
            line, end, rest = self._read.partition(b"\n")
            if end:
                self._read = rest
                yield (line + end).decode()
            elif not self._more(None):
                return

    def communicate(self, timeout: float | None = None) -> str:
        """The rest of its output, once it has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while self._more(deadline):
                pass
        except TimeoutError:
            raise subprocess.TimeoutExpired(["pytest"], timeout or 0) from None
        self.wait(timeout)  # it may have closed its output before
        rest, self._read = self._read.decode(), b""
        return rest

    def _more(self, deadline: float | None) -> bool:
        """Reads on; whether there was more."""
        if self._reading < 0:
            return False
        rest = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([self._reading], [], [], rest)[0]:
            raise TimeoutError
        read = os.read(self._reading, 1 << 16)
        self._read += read
        if not read:
            os.close(self._reading)
            self._reading = -1
        return bool(read)


class Server:
    """The process that forks; it ends when this one does."""

    def __init__(self) -> None:
        self._connection, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with far:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "selftests.plain"],
                cwd=ROOT,
                stdin=far,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def request(self, request: bytes, descriptors: Sequence[int]) -> None:
        assert len(request) <= LARGEST
        socket.send_fds(self._connection, [request], descriptors)

    def close(self) -> None:
        self._connection.close()
        self._process.wait()


def _server() -> Server:
    with STARTING:
        return _started()


@functools.cache
def _started() -> Server:
    made = Server()
    atexit.register(made.close)
    return made


def main() -> int:
    """The server's end: what to exit with, in it and in each process that it has forked."""
    requests = socket.socket(fileno=os.dup(0))
    pytest.main([*OPTIONS, "-q", "--collect-only", "tests"])
    _load_what_runs_load_late()
    gc.freeze()  # what is there is shared by all runs
    sys.stdout.flush()  # else every run would print it again
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, *_ = select.select([requests, *running], [], [])
        for process in [one for one in ready if one in running]:
            pid, answers = running.pop(process)
            os.close(process)
            with answers, contextlib.suppress(BrokenPipeError):
                answers.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        if requests not in ready:
            continue
        request, descriptors, *_ = socket.recv_fds(requests, LARGEST, DESCRIPTORS)
        if not request:
            return 0
        forked = os.fork()
        if not forked:
            for _, answers in running.values():
                answers.close()
            requests.close()
            return _pytest(**json.loads(request), descriptors=descriptors)
        process = os.pidfd_open(forked)
        running[process] = forked, socket.socket(fileno=descriptors[0])
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        socket.send_fds(running[process][1], [str(forked).encode()], [process])


def _load_what_runs_load_late() -> None:
    """Scapy, the compiled templates and the agent of live hosts: half a second of every run that uses them."""
    assert layers.IP
    agent_archive.packed(compiled=True)
    for name in templates().list_templates(extensions=("html", "md")):
        templates().get_template(name)


def _pytest(arguments: list[str], environment: dict[str, str], own_session: bool, descriptors: list[int]) -> int:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup(1) a hang-up is ignored, which is inherited
    if own_session:
        os.setsid()
    status, *outputs = descriptors
    os.close(status)
    if len(outputs) > 2:
        namespaces._enter(outputs[2])
        os.close(outputs.pop())
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate([null, *outputs]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    payloads._ports = payloads._shuffled()  # the ports of the run before may be in TIME_WAIT
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
