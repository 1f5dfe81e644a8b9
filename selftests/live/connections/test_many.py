"""
Many live hosts behind one jump host, whose sshd lets only a few log in at the same time.

    this process ── hub (MaxStartups) ── spoke1 ... spoke20
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.machines.live import hosts, ssh
from lab.machines.live.ssh_link import Login
from selftests.live.conftest import on_this_kernel

pytestmark = pytest.mark.alone("the neighbours of 21 hosts fill the table that all labs of a kernel share")

SPOKES = 20


@pytest.mark.parametrize("startups", ["10:30:100", "4:100:4"], ids=["sshd's default", "few"])
def test_every_host_is_reached_through_one_jump_host(tmp_path: Path, startups: str) -> None:
    """Logins that the jump host turns away are tried again as others come through, and all hosts are reached."""
    with on_this_kernel(tmp_path, spokes=SPOKES, overlay=False, startups=startups) as rig:
        config = tmp_path / "jumping"
        config.write_text(f"Host spoke*\n    ProxyJump hub\n{rig.inner_config.read_text()}")
        with rig.entered():
            connected = ssh.reach(hosts.parse(rig.specs), Login(str(config)))

        assert [str(failure) for failure in connected.failures] == []
        assert len(connected.machines) == 1 + SPOKES
        connected.close()
