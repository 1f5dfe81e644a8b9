"""
How tests run pytest in a process of its own.

    run(...) --arguments, environment, descriptors--> server --fork--> pytest, as `python -m pytest` runs it
             <------------ PID, exit status -----------

The server has loaded pytest, the plugins, the suite's tests, scapy and the templates, which every run would load for
two seconds.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab.machines.live import agent_archive
from lab.probes import payloads
from lab.probes.capture import layers
from reports.html.page import templates

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ("-p", "no:cacheprovider", "-p", "no:allure_pytest")
"""Without this checkout's cache, and without results for Allure: a fifth of the time, and nothing reads them."""
PYTEST = (sys.executable, "-m", "pytest", *OPTIONS)
LARGEST = 1 << 17
"""Bytes of a request, most of them the environment."""


def run(*arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Runs pytest with OPTIONS and arguments in the checkout, in this process's environment, to its end."""
    command = [*OPTIONS, *arguments]
    outputs = [os.memfd_create(name) for name in ("stdout", "stderr")]
    try:
        status = _server().run(command, outputs, timeout)
        printed = [os.pread(output, os.fstat(output).st_size, 0).decode() for output in outputs]
    finally:
        for output in outputs:
            os.close(output)
    return subprocess.CompletedProcess(["pytest", *command], status, *printed)


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

    def run(self, arguments: list[str], outputs: list[int], timeout: float | None) -> int:
        request = json.dumps({"arguments": arguments, "environment": dict(os.environ)}).encode()
        assert len(request) <= LARGEST
        socket.send_fds(self._connection, [request], outputs)
        pid = int(self._connection.recv(LARGEST))
        self._connection.settimeout(timeout)
        try:
            return int(self._connection.recv(LARGEST))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._connection.settimeout(None)
            self._connection.recv(LARGEST)  # the status of what was killed
            raise subprocess.TimeoutExpired(arguments, timeout or 0) from None
        finally:
            self._connection.settimeout(None)

    def close(self) -> None:
        self._connection.close()
        self._process.wait()


@functools.cache
def _server() -> Server:
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
    while True:
        request, outputs, *_ = socket.recv_fds(requests, LARGEST, 2)
        if not request:
            return 0
        forked = os.fork()
        if not forked:
            requests.close()
            return _pytest(**json.loads(request), outputs=outputs)
        for output in outputs:
            os.close(output)
        requests.send(str(forked).encode())
        requests.send(str(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])).encode())


def _load_what_runs_load_late() -> None:
    """Scapy, the compiled templates and the agent of live hosts: half a second of every run that uses them."""
    assert layers.IP
    agent_archive.packed(compiled=True)
    for name in templates().list_templates(extensions=("html", "md")):
        templates().get_template(name)


def _pytest(arguments: list[str], environment: dict[str, str], outputs: list[int]) -> int:
    os.environ.clear()
    os.environ.update(environment)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate([null, *outputs]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    payloads._ports = payloads._shuffled()  # the ports of the run before may be in TIME_WAIT
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
