"""Options of the suite that cannot be meant: one message and status 4, before anything is started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab.faults import catalogue
from lab.machines.base import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the suite, or is told why not."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/broadcast", *arguments]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts="], "--hosts: expected a host between the commas; found nothing"),
        (["--sudo"], "--sudo is about live hosts: expected --hosts=HUB,SPOKE,... too"),
        (["--ssh-config=x"], "--ssh-config is about live hosts: expected --hosts=HUB,SPOKE,... too"),
        (
            ["--inject=hub9: true"],
            "--inject='hub9: true' is for no node of the lab: expected one of vcn, hub, spoke1, spoke2",
        ),
        (["--inject=port-detach"], "--inject=port-detach names no fault (close to it: port-detached"),
        (["--inject=spoke3: true"], "--inject='spoke3: true' is for no node of the lab"),
        (["--reports="], "--reports: expected a folder; found nothing"),
        (["--reports=pytest.ini"], f"the results cannot be written to {ROOT}/pytest.ini: File exists"),
    ],
)
def test_what_cannot_be_meant_is_one_message(arguments: list[str], message: str) -> None:
    """An empty list of hosts above all: a lab that is tested in their place says nothing about them."""
    done = run(*arguments)

    assert done.returncode == 4
    assert done.stderr.startswith(f"ERROR: {message}")
    assert "Traceback" not in done.stderr


def test_a_command_that_fails_ends_the_run() -> None:
    """What cannot be done to one lab cannot be done to the next: it is said once, and there is no verdict."""
    done = run("--inject=hub: ip link set nosuch up", "--tunnel=vxlan")

    assert done.returncode == 1
    assert "1 error in" in done.stdout
    assert "! the fault cannot be injected: on hub, `ip link set nosuch up` ended with 1: Cannot find" in done.stdout
    assert "verdict: incomplete" in done.stdout


def test_the_faults_that_have_a_name_are_listed() -> None:
    """`--inject=list` says what each of them is, and runs nothing."""
    done = run("--inject=list")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(catalogue.known())
    assert catalogue.named("port-detached").what in done.stdout
