"""
A lab that ends: by `down`, by a SIGKILL of the process that keeps it, by Ctrl-C while it is built.  Nothing is left.

    up --- keeper --- agent on this kernel | guest kernel        the same tests for both
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.errors import EnvironmentProblem
from lab.machines.choose import choose
from selftests.commands.conftest import MACHINES, PATIENCE, Checkout
from selftests.lab.processes import descendants


def keeper_of(checkout: Checkout) -> int:
    """The process that keeps the lab, as `up` names it when asked for a second one."""
    refused = checkout.run("up")
    found = re.search(r"process (\d+)", refused.errors)
    assert found, refused.errors
    return int(found[1])


def gone(pids: list[int]) -> bool:
    """Whether the processes end, or have ended, within the time that a loaded machine may take."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        if not ended.poll(10_000):
            return False
        os.close(descriptor)
    return True


@pytest.mark.parametrize("end", ["down", "SIGKILL"])
@pytest.mark.parametrize(("kernel", "tunnel"), MACHINES.items(), ids=list(MACHINES))
def test_nothing_is_left(checkout: Checkout, kernel: str, tunnel: str, end: str) -> None:
    """After `down`, and after the keeper was killed, none of its processes is left and the next `up` works."""
    try:
        choose(kernel, tunnel)
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    assert checkout.run("up", f"--kernel={kernel}", f"--tunnel={tunnel}").status == 0
    keeper = keeper_of(checkout)
    processes = [keeper, *descendants(keeper)]
    assert len(processes) > 1
    if end == "down":
        assert checkout.run("down").output == "the lab is down\n"
    else:
        os.kill(keeper, signal.SIGKILL)
    assert gone(processes)
    assert checkout.run("exec", "hub", "true").errors.startswith("overcast: no lab is up")
    assert checkout.run("down").output == "no lab is up: nothing to remove\n"


def test_interrupted_up_leaves_nothing(checkout: Checkout) -> None:
    """Ctrl-C while the lab is being built ends it: nothing is up and no process of it is left."""
    try:
        choose("guest", "gretap")
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    starting = subprocess.Popen(
        checkout.command("up", "--kernel=guest"), cwd=checkout.path, stderr=subprocess.PIPE, text=True
    )
    assert starting.stderr is not None
    assert "guest kernel" in starting.stderr.readline()
    deadline = time.monotonic() + PATIENCE
    while not (processes := descendants(starting.pid)):
        assert time.monotonic() < deadline
    starting.send_signal(signal.SIGINT)
    _, errors = starting.communicate(timeout=PATIENCE)
    assert starting.returncode == 130
    assert errors == "overcast: interrupted\n"
    assert gone(processes)
    assert checkout.run("down").output == "no lab is up: nothing to remove\n"


def test_guest_that_dies_is_reported(checkout: Checkout) -> None:
    """A lost guest kernel is one message with the command that starts another."""
    try:
        choose("guest", "gretap")
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    assert checkout.run("up", "--kernel=guest").status == 0
    kill(descendants(keeper_of(checkout)))
    done = checkout.run("exec", "hub", "true")
    assert done.status == 1
    assert done.errors.startswith("overcast: the guest kernel ended while it was in use (killed by SIGKILL)")
    assert len(done.errors.splitlines()) == 2, done.errors
    assert "./overcast up" in done.errors
    assert "Traceback" not in done.errors
    assert checkout.run("down").status == 0


def test_bench_that_loses_its_guest_fails(checkout: Checkout) -> None:
    """The measurements are printed, the lost guest is one message, and the exit status is a failure."""
    try:
        choose("guest", "gretap")
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    measuring = subprocess.Popen(
        checkout.command("bench", "--spokes=2"), cwd=checkout.path, stdout=-1, stderr=-1, text=True
    )
    deadline = time.monotonic() + PATIENCE
    while not (guests := [pid for pid in descendants(measuring.pid) if name_of(pid) == "linux.uml"]):
        assert time.monotonic() < deadline
    kill(guests)
    output, errors = measuring.communicate(timeout=PATIENCE)
    assert measuring.returncode == 1, errors
    assert "overcast: not measured: guest kernel: the guest kernel ended" in errors
    assert "Call Trace" not in errors
    assert output.splitlines()[0].split()[1] == "host"


def kill(pids: Iterable[int]) -> None:
    """Kill processes of a guest; the end of one may be that of the others."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_bench_measures(checkout: Checkout) -> None:
    """The figures are printed as JSON, for the requested kernel and sizes."""
    done = checkout.run("bench", "--kernel=host", "--spokes=2", "--json")
    assert done.status == 0, done.errors
    figures = json.loads(done.output)["host"]
    check = {"delivery check", "delivery check without taps"}
    assert set(figures["times"]) == {"agent answers", "pyroute2 imported", "lab built", *check, "lab closed"}
    assert all(value > 0 for value in figures["times"].values())
    assert figures["build_per_spoke"].keys() == figures["check_per_host"].keys() == {"2"}
