"""
`--provision` on real machines: three guests, each with a kernel and modules of its own, and gretap.

    pytest --hosts=hub,spoke1,spoke2 --provision ── ssh ── the emulated cloud network ── hub, spoke1, spoke2
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import execnet
import pytest

from lab import laboratory, topologies
from lab.machines import choose
from lab.model import Underlay
from lab.providers import provider
from selftests.live import guests_rig
from selftests.live.guests_rig import GuestsRig
from selftests.live.provision.runs import QUICK, Run
from selftests.machines.guests import Family

GRETAP = ("--hosts=ssh://root@hub,ssh://root@spoke1,ssh://root@spoke2", "--tunnel=gretap")
SECONDS = 10.0  # within which a machine is as it was; at once in practice, more on a busy machine


@pytest.fixture
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestsRig]:
    """Three machines as their cloud hands them out."""
    if lack := guests_rig.missing():
        pytest.skip(lack)
    starting = choose.start(choose.Choice("local", "the cloud network needs no tunnels"), execnet.Group())
    lab = laboratory.build(starting.machine(), topologies.standard(2), Underlay(provider("oci")), overlay=False)
    made = GuestsRig(lab, tmp_path_factory.mktemp("machines"))
    families = [Family(host.booting.pid) for host in made.hosts.values()]
    yield made
    made.close()
    starting.close()
    for family in families:
        family.await_end()


@pytest.mark.slow
def test_machines_are_as_they_were(machines: GuestsRig, tmp_path: Path) -> None:
    """The overlay is there for the tests; afterwards, and after a controller that was killed, nothing is left of it."""
    before = machines.state()

    _, said = Run(machines, tmp_path, *QUICK, *GRETAP).ended()

    assert " passed" in said, said
    assert "the hosts are as they were before" in said
    assert machines.differences(before, SECONDS) == []

    killed = Run(machines, tmp_path, *QUICK, *GRETAP, "-p", "selftests.lab.hold").until_ready()
    assert any("gretap" in line for line in machines.differences(before, 0))
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.ended()

    assert machines.differences(before, SECONDS) == []
