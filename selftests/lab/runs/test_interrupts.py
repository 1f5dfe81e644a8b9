"""
An interrupted run ends in order: status 2, a verdict, results that are all of this run, and nothing left.

    SIGINT or SIGTERM ──▶ pytest, alone or with its workers, at any time of its life
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.interrupts import blocked
from selftests.lab.hold import HOLD, HOOKS
from selftests.lab.processes import Watched

A_TEST = "tests/broadcast/test_delivery.py"
OLD = "of an older run"
FILES = (
    "conformance.json",
    "index.html",
    "junit.xml",
    "allure-results/00000000-0000-0000-0000-000000000000-result.json",
)
GONE_WITHIN = 60.0  # seconds, on a busy machine too; milliseconds in practice
STARTED_WITHIN = 20.0  # seconds; half of one in practice
LONGEST = 8.0  # seconds after its start within which a run is interrupted; the whole suite takes more than twice that

Interrupted = Callable[..., str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Starts a run whose results have a folder that an older run has filled; it has a folder for temporary files."""
    runs: list[Watched] = []
    (tmp_path / "tmp").mkdir()
    for name in FILES:
        path = tmp_path / "reports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OLD)

    def started(*arguments: str, **environment: str) -> Watched:
        runs.append(
            Watched([f"--reports={tmp_path / 'reports'}", *arguments], TMPDIR=str(tmp_path / "tmp"), **environment)
        )
        return runs[-1]

    yield started
    for run in runs:
        run.process.kill()
        run.process.communicate()


@pytest.fixture
def check(tmp_path: Path) -> Callable[[Watched], None]:
    """Checks that a run which was interrupted has ended in order."""

    def checked(run: Watched) -> None:
        said = run.output()
        lines = [line for line in said.splitlines() if line.strip()]
        assert run.process.returncode == 2, said
        assert lines[-1].startswith("verdict: incomplete (interrupted) - "), said
        assert not re.search(r"Traceback|INTERNALERROR|worker.*crashed", said), said
        assert run.ended(run.members(), GONE_WITHIN) == []
        # pytest's own folder, which pytest-xdist makes and pytest keeps for the next runs
        assert [path for path in (tmp_path / "tmp").iterdir() if not path.name.startswith("pytest-of-")] == []
        result = json.loads((tmp_path / "reports" / "conformance.json").read_text())
        assert (result["verdict"], result["exit_status"]) == ("incomplete", 2)
        assert "interrupted" in result["stopped"]
        assert (tmp_path / "reports" / "index.html").exists()
        assert [path for path in (tmp_path / "reports").rglob("*") if path.is_file() and path.read_text() == OLD] == []

    return checked


def await_handler(run: Watched) -> None:
    """Waits until the run notes SIGTERM by itself: before that Python is only just starting."""
    until = time.monotonic() + STARTED_WITHIN
    while True:
        status = Path(f"/proc/{run.process.pid}/status").read_text()
        caught = int(re.findall(r"SigCgt:\s+(\w+)", status)[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        assert time.monotonic() < until


# one handler notes both signals, and only the name that it notes is another
@pytest.mark.parametrize(
    ("hook", "number"), [*((hook, signal.SIGINT) for hook in HOOKS), ("pytest_runtest_call", signal.SIGTERM)]
)
def test_at_a_point(start: Callable[..., Watched], check: Callable[..., None], hook: str, number: int) -> None:
    """Interrupted while it is configured, collects, sets up, tests, tears down or reports, a run ends in order."""
    run = start("-p", "selftests.lab.hold", "-s", "--tunnel=vxlan", A_TEST, **{HOLD: hook})
    run.wait_for_line("READY")

    run.process.send_signal(number)
    run.process.send_signal(signal.SIGUSR1)

    check(run)


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])
@pytest.mark.parametrize("seed", range(3))
def test_at_a_random_time(
    start: Callable[..., Watched], check: Callable[..., None], seed: int, processes: tuple[str, ...]
) -> None:
    """Interrupted at any time, alone or with all its processes as by a terminal, a run ends in order."""
    chance = random.Random(seed)
    run = start("--tunnel=vxlan", *processes)
    await_handler(run)
    with pytest.raises(TimeoutError):
        run.await_end(chance.uniform(0, LONGEST))

    for pid in run.members() if chance.random() < 0.5 else [run.process.pid]:
        os.kill(pid, signal.SIGINT)

    check(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_pytest_is_loaded(start: Callable[..., Watched], check: Callable[..., None], number: int) -> None:
    """A signal that arrived while Python started, which `./overcast` blocked until then, ends a run in order."""
    with blocked():
        run = start("--tunnel=vxlan", A_TEST)
        run.process.send_signal(number)

    check(run)


def test_before_selftests_are_collected(start: Callable[..., Watched]) -> None:
    """With Python's own signal handling, an earlier signal ends the run as well."""
    with blocked():
        run = start("selftests/test_documents.py")
        run.process.send_signal(signal.SIGINT)

    said = run.output()
    assert run.process.returncode == 2, said
    assert "Traceback" not in said


def test_in_a_guest(start: Callable[..., Watched], check: Callable[..., None]) -> None:
    """Interrupted while its guest kernel boots, a run ends in order."""
    run = start("--kernel=guest", A_TEST)
    await_handler(run)
    with pytest.raises(TimeoutError):
        run.await_end(0.5)

    run.process.send_signal(signal.SIGINT)

    check(run)


@pytest.mark.parametrize("hook", ["pytest_runtest_call", "pytest_sessionfinish"])
def test_twice(start: Callable[..., Watched], check: Callable[..., None], hook: str) -> None:
    """A second Ctrl-C, while the first one is answered, changes nothing."""
    run = start("-p", "selftests.lab.hold", "-s", "--tunnel=vxlan", A_TEST, **{HOLD: hook})
    run.wait_for_line("READY")

    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGUSR1)
    run.process.send_signal(signal.SIGINT)

    check(run)
