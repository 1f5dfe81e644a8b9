"""
`./overcast load --hosts=` loads live hosts no more than it may, and leaves them as they were.

    load --ssh-- hub, spoke1, spoke2: an sshd each, joined by VXLAN over the emulated cloud
"""

from __future__ import annotations

import json

import pytest

from lab import state
from lab.commands.main import main
from selftests.live.rig import Rig

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
    assert [one["beside"] for one in report["delays"]] == [0, 500]
    assert report["capacity"] is None
    assert "its limit" in report["capacity_skipped"]
    assert state.fingerprint(rig.lab.nodes) == before
