"""
Hosts in production: other programs' traffic, group members, taken ports.  The suite judges only packets of its own.

    hub, spoke1, spoke2: pings, streams, broadcast, ARP requests, members of 224.1.1.1, port 5005 taken (`noise`)
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.laboratory import Lab
from selftests.live import noise
from selftests.live.conftest import on_this_kernel
from selftests.live.rig import Rig
from selftests.live.test_suite import run


@contextlib.contextmanager
def background(rig: Rig) -> Iterator[None]:
    """Every host is busy, for the length of a block; its peer is the next one."""
    plans = list(rig.lab.plans.values())
    started: list[subprocess.Popen[str]] = []
    with contextlib.ExitStack() as ending:
        for plan, peer in zip(plans, [*plans[1:], plans[0]], strict=True):
            addresses = [
                plan.address(),
                peer.address(),
                plan.broadcast(),
                plan.address("underlay"),
                peer.address("underlay"),
            ]
            enter = ["nsenter", f"--net={rig.hosts[plan.name].stack}", "setpriv", "--pdeathsig", "KILL"]
            process = subprocess.Popen(
                [*enter, sys.executable, noise.__file__, plan.device, *addresses],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            ending.enter_context(process)  # at its end the input ends, and with it the process
            assert process.stdout is not None
            assert process.stdout.readline() == "READY\n"
            started.append(process)
        yield
        assert [process.poll() for process in started] == [None] * len(started), "a host was idle"


def talkative(lab: Lab) -> None:
    """Hosts that answer every packet for a closed port, and filter by reverse path."""
    for name in lab.plans:
        lab.nodes[name].write_sysctls({"net.ipv4.icmp_ratelimit": 0, "net.ipv4.conf.all.rp_filter": 1})


def test_busy_hosts_are_conformant(tmp_path: Path) -> None:
    """Beside other programs every MUST that live hosts can show holds."""
    files = tmp_path / "rig"
    files.mkdir()
    with on_this_kernel(files, prepare=talkative) as rig, background(rig):
        done, result = run(rig, tmp_path / "reports")

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert result["findings"] == []
