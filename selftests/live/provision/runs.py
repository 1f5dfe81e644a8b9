"""What the tests of `--provision` use: runs of pytest on the hosts of a rig, and all that could have changed there."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from selftests import plain
from selftests.live.rig import Rig, RigHost

DELIVERY = "tests/broadcast/test_delivery.py"
QUICK = (DELIVERY, "-k", "test_reaches_every_other_node_exactly_once")
SETTING_UP = (*QUICK, "-p", "selftests.lab.hold")
MINUTES = 120.0  # seconds that a run may take at most; three in practice

LOOKS = (
    ("ip", "-d", "addr"),
    ("ip", "-d", "link"),
    ("ip", "-d", "route", "show", "table", "all"),
    ("ip", "-6", "-d", "route", "show", "table", "all"),
    ("ip", "rule"),
    ("bridge", "-d", "link"),
    ("bridge", "fdb"),
    ("grep", "-rs", "", "/proc/sys/net", "--exclude=nf_conntrack_count", "--exclude=stat_refresh"),
    ("cat", "/proc/modules"),
)
TIMERS = re.compile(r" \w+_timer +[\d.]+| sequence \d+(?= supervision)")
"""What changes by itself: the timers of bridges, and the number of a PRP device's next frame."""


def looked(rig: Rig) -> dict[str, list[str]]:
    """Everything that could have changed, by host and question, and the files."""
    found = {}
    for name, host in rig.hosts.items():
        for look in LOOKS:
            said = rig.lab.nodes[name].run(*look)
            found[f"{name}: {' '.join(look)}"] = sorted(TIMERS.sub("", said["output"]).splitlines())
        found[f"{name}: files"] = sorted(host.files())
    return found


class Run:
    """A run of pytest on the hosts of a rig."""

    def __init__(self, rig: Rig, reports: Path, *arguments: str, inside: bool = False) -> None:
        config = rig.inner_config if inside else rig.ssh_config
        self.process = plain.start(
            *("-s", f"--reports={reports}", "--hosts=hub,spoke1,spoke2", f"--ssh-config={config}"),
            *("--provision", "--tunnel=vxlan"),
            "--provider=oci",  # whatever cloud this machine's firmware names
            *arguments,
            inside=rig.controller if inside else None,
        )
        self.said: list[str] = []

    def until_ready(self) -> Run:
        """Up to the middle of the first test (`selftests.lab.hold`)."""
        for line in self.process.lines():
            self.said.append(line)
            if line.endswith("READY\n"):
                return self
        raise AssertionError("".join(self.said))

    def ended(self) -> tuple[int, str]:
        """Its exit status and all it said."""
        rest = self.process.communicate(timeout=MINUTES)
        return self.process.wait(), "".join([*self.said, rest])

    def interrupted(self) -> tuple[int, str]:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.ended()


def overlay_on(rig: Rig) -> dict[str, bool]:
    """Whether each host has its device of the overlay."""
    return {name: rig.lab.nodes[name].has_link(plan.device) for name, plan in rig.lab.plans.items()}


def processes(host: RigHost, words: str) -> list[int]:
    """The processes of a host that have the words in their command line."""
    return [pid for pid, command in host.processes().items() if words in command]


def devices(rig: Rig) -> dict[str, list[str]]:
    """The VXLAN devices of each host."""
    found = {
        name: rig.lab.nodes[name].run("ip", "-br", "link", "show", "type", "vxlan")["output"] for name in rig.hosts
    }
    return {name: lines for name, said in found.items() if (lines := said.splitlines())}


def require_passed(rig: Rig, said: str, shape: str) -> None:
    """A run found the overlay in this shape, passed, and removed it."""
    assert re.search(r"\d+ passed", said), said
    assert not re.search(r"\d+ (failed|error)", said), said
    assert f"(vxlan, {shape}, oci;" in said, said
    assert "the hosts are as before the run" in said, said
    assert devices(rig) == {}, devices(rig)


def killed(run: Run) -> None:
    """The controller is killed, and its hosts' connections have ended."""
    os.killpg(run.process.pid, signal.SIGKILL)
    run.ended()


def require_nothing_left(rig: Rig) -> None:
    """No process of a run and no device of its overlay is on a host."""
    left = {name: processes for name, host in rig.hosts.items() if (processes := host.left())}
    assert not left, left
    assert devices(rig) == {}, devices(rig)
