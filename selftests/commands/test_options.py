"""Options of the suite that cannot be meant: one message and status 4, before anything is started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab.machines.base import ROOT


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
        (["--inject=spoke3: true"], "--inject='spoke3: true' is for no node of the lab"),
    ],
)
def test_what_cannot_be_meant_is_one_message(arguments: list[str], message: str) -> None:
    """An empty list of hosts above all: a lab that is tested in their place says nothing about them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/broadcast", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    assert done.returncode == 4
    assert done.stderr.startswith(f"ERROR: {message}")
    assert "Traceback" not in done.stderr
