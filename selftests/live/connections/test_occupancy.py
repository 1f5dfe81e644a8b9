"""
One run at a time: a second one on the same hosts is refused and learns who is there, before it disturbs anything.

    run 1 ── ssh ── hub, spoke1, spoke2 ── ssh ── run 2, doctor
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import EnvironmentProblem
from lab.machines.base import ROOT
from lab.machines.live import ssh
from selftests import plain
from selftests.live.conftest import Reach
from selftests.live.rig import Rig

QUICK = ("tests/broadcast/test_delivery.py", "-k", "test_reaches_every_other_node_exactly_once")
MINUTES = 60.0  # seconds that a run may take at most


def command(rig: Rig, *program: str) -> list[str]:
    return [*program, f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}"]


@pytest.fixture
def first(rig: Rig, tmp_path: Path) -> Iterator[plain.Printing]:
    """A run that stands still in the middle of its first test."""
    words = command(rig, "-s", "-p", "selftests.lab.hold", f"--reports={tmp_path}", "--provider=oci", *QUICK)
    run = plain.start(*words)
    assert any(line.endswith("READY\n") for line in run.lines())
    yield run
    run.kill()
    run.communicate()


SECOND: dict[str, tuple[str, ...]] = {
    "pytest": (sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
    "pytest --provision": (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--provision"),
    "doctor": (sys.executable, "-m", "lab", "doctor"),
}


@pytest.mark.parametrize("program", SECOND.values(), ids=SECOND)
def test_a_second_run_names_the_first(rig: Rig, first: plain.Printing, program: tuple[str, ...]) -> None:
    """It ends before its tests, in one message with the host and the process of the run that is there."""
    done = subprocess.run(
        command(rig, *program), cwd=ROOT, capture_output=True, text=True, timeout=MINUTES, check=False
    )

    assert done.returncode != 0, done.stdout
    assert f", process {first.pid}, since " in done.stderr
    assert "is in use by the run of " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_the_hosts_are_free_once_the_run_has_ended(first: plain.Printing, reach: Reach, ending: signal.Signals) -> None:
    """However the first run ends, the next one may begin at once: it waits for a run that is just ending."""
    connected = reach("hub,spoke1,spoke2")
    with pytest.raises(EnvironmentProblem, match="in use by the run of"):
        ssh.claim(connected)

    first.send_signal(ending)

    ssh.claim(connected)


def test_of_two_at_the_same_time_one_gets_all_hosts(reach: Reach) -> None:
    """Runs that name the hosts in another order do not each hold a part of them."""
    one, other = reach("hub,spoke1,spoke2"), reach("spoke2,spoke1,hub")

    ssh.claim(one)

    with pytest.raises(EnvironmentProblem) as refused:
        ssh.claim(other)
    assert str(refused.value).count("is in use by") == 1
