"""
A spoke that is lost in the middle of a run: no verdict on the overlay, and what the other hosts show stays shown.

    pytest --hosts=hub,spoke1,spoke2 (held in its first test)      spoke2: its NIC without a link, or its login ended
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.stack.changes import link_set
from reports.verdict.conformance import INCOMPLETE
from selftests import plain
from selftests.live.conftest import on_this_kernel
from selftests.live.rig import Rig

TESTS = ("tests/icmp", "tests/multicast/test_membership.py", "tests/prerequisites/test_macs.py")
MINUTES = 180.0  # seconds that a run may take at most


def unplug(rig: Rig) -> None:
    """Its packets are lost, as when the VM was stopped or its host died."""
    rig.lab.fabric.apply(link_set("spoke2", up=False))


def shut_down(rig: Rig) -> None:
    """Every process of the host ends, and its NIC has no link any more."""
    host = rig.hosts["spoke2"]
    kill(*host.agents(), host.init)
    unplug(rig)


def end_login(rig: Rig) -> None:
    """Its agent is killed; the host goes on with the overlay."""
    kill(*rig.hosts["spoke2"].agents())


def kill(*processes: int) -> None:
    """Kills processes and waits for their end; one may end by the end of another."""
    descriptors = [os.pidfd_open(process) for process in processes]
    for descriptor in descriptors:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    for descriptor in descriptors:
        select.select([descriptor], [], [])
        os.close(descriptor)


def run_and_lose(rig: Rig, reports: Path, lose: Callable[[Rig], None]) -> tuple[int, str, dict[str, Any]]:
    """Exit status, output and results of a run during which a spoke is lost."""
    process = plain.start(
        *("-q", "-s", "-p", "selftests.lab.hold", f"--reports={reports}", "--provider=oci"),
        *("--hosts=hub,spoke1,ssh://spoke2?timeout=3", f"--ssh-config={rig.inner_config}", *TESTS),
        inside=rig.controller,
    )
    with contextlib.ExitStack() as ending:
        ending.callback(process.kill)
        for line in process.lines():
            if line.endswith("READY\n"):
                break
        lose(rig)
        process.send_signal(signal.SIGUSR1)
        said = process.communicate(timeout=MINUTES)
    return process.wait(), said, json.loads((reports / "conformance.json").read_text())


@pytest.mark.parametrize("lose", [unplug, shut_down, end_login], ids=lambda lose: lose.__name__)
def test_tests_that_needed_it_did_not_run(lose: Callable[[Rig], None], tmp_path: Path) -> None:
    """No test fails; the verdict is incomplete and names the spoke; tests that need only the others pass."""
    files = tmp_path / "rig"
    files.mkdir()

    with on_this_kernel(files) as rig:
        status, said, result = run_and_lose(rig, tmp_path, lose)

    outcomes = {entry["id"]: entry for entry in result["requirements"]}
    assert not re.search(r"\d+ failed", said), said
    assert re.search(r"\d+ passed", said), said
    assert "Traceback" not in said
    assert result["verdict"] == "incomplete"
    assert status in (1, INCOMPLETE)
    assert outcomes["ICMP-01"]["outcome"] == "not-run"
    assert "spoke2" in outcomes["ICMP-01"]["reason"]
    assert "was lost" in outcomes["ICMP-01"]["reason"]
