"""
`./overcast load --hosts=` loads live hosts no more than it may, and leaves them as they were.

    load --ssh-- hub, spoke1, spoke2: an sshd each, joined by VXLAN over the emulated cloud
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from lab.commands.main import main
from lab.machines.base import ROOT
from lab.stack import state
from selftests.live.rig import Rig

PATIENCE = 60.0  # seconds within which a load begins, on a busy machine too
MANY = 500  # datagrams that no trial before a load sends
PAST_THE_BOUND = 1.2  # a trial begins with a datagram before its first interval is over


def test_live_hosts_are_spared(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --load-max no host is sent more than 1000 datagrams a second, and no burst; nothing is changed."""
    before = state.fingerprint(rig.lab.nodes)

    status = main(["load", "--hosts=hub,spoke1,spoke2", f"--ssh-config={rig.ssh_config}", "--repeat=1", "--json"])

    report = json.loads(capsys.readouterr().out)
    assert status == 0
    assert report["hosts"] == {"hub": "hub", "spoke1": "spoke1", "spoke2": "spoke2"}
    assert report["most"] == 1000
    assert max(one["rate"] for one in report["throughput"]) < 1000 * PAST_THE_BOUND
    assert report["bursts"] == []
    assert report["latency_is_spread"]
    alone, beside = (one["beside"] for one in report["delays"])
    assert alone == 0 < beside <= 500  # a busy machine sends somewhat less
    assert report["capacity"] is None
    assert "its limit" in report["capacity_skipped"]
    assert state.fingerprint(rig.lab.nodes) == before


def test_sigkill_leaves_nothing(rig: Rig) -> None:
    """Killed while it sends, a load leaves no process on any host, and each host as it was."""
    before = state.fingerprint(rig.lab.nodes)
    receiver = rig.lab.nodes["spoke2"]
    device = rig.lab.topology.port("spoke2", "hub")
    until = receiver.statistics(device)["rx_packets"] + MANY
    command = [sys.executable, "-m", "lab", "load", "--hosts=hub,spoke1,spoke2", f"--ssh-config={rig.ssh_config}"]

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENCE
        while receiver.statistics(device)["rx_packets"] < until:
            assert time.monotonic() < deadline, "no load began"
        process.kill()

    assert [host.left() for host in rig.hosts.values()] == [{}, {}, {}]
    assert state.fingerprint(rig.lab.nodes) == before
