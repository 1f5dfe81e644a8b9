"""
Runs of pytest that are forked are like those that are started: their own status, output and environment.

    plain.run --> a server that has loaded the suite --fork--> pytest
"""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from selftests import plain

A_TEST = "tests/broadcast/test_delivery.py"


def test_a_run_has_its_own_status_and_output() -> None:
    """What is misused ends with 4 and its message on stderr, what is collected with 0, one after the other."""
    misused, collected = plain.run("--sudo", A_TEST), plain.run("--collect-only", "-q", A_TEST)

    assert (misused.returncode, misused.stdout) == (4, "")
    assert misused.stderr.startswith("ERROR: --sudo requires --hosts=")
    assert (collected.returncode, collected.stderr) == (0, "")
    assert f"{A_TEST}::" in collected.stdout


def test_a_run_has_the_environment_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set after the server was started holds for the next run, and for no other."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "--sudo")
    assert plain.run("--collect-only", A_TEST).returncode == 4

    monkeypatch.delenv("PYTEST_ADDOPTS")
    assert plain.run("--collect-only", A_TEST).returncode == 0


def test_a_run_that_takes_too_long_is_killed() -> None:
    """The run that stands still is ended, and the status of the next one is its own."""
    with pytest.raises(subprocess.TimeoutExpired):
        plain.run("-p", "selftests.lab.hold", "--tunnel=vxlan", A_TEST, timeout=1.0)

    assert plain.run("--sudo", A_TEST).returncode == 4


def test_a_run_is_read_while_it_goes_on() -> None:
    """Its output is read to a line, and the rest after a signal to the session that it leads; both runs go on."""
    runs = [plain.start("-s", "-p", "selftests.lab.hold", "--tunnel=vxlan", A_TEST) for _ in range(2)]
    for run in runs:
        assert any(line.endswith("READY\n") for line in run.lines())
    interrupted, killed = runs

    os.killpg(interrupted.pid, signal.SIGINT)
    rest = interrupted.communicate(timeout=60.0)

    assert "Interrupted: interrupted by SIGINT" in rest
    assert interrupted.wait() == 2
    with pytest.raises(subprocess.TimeoutExpired):
        killed.communicate(timeout=0.0)
    killed.kill()
    killed.communicate()
    assert killed.wait() == -signal.SIGKILL
