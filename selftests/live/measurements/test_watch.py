"""
`./overcast watch`: what happens on live hosts is reported when it happens, and nothing of the watch is left on them.

    watch --ssh-- hub, spoke1, spoke2: a round a second     a fault on a host  -->  lost, with its cause and fix
                                                            its end            -->  works, after so many seconds
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.clouds.providers import provider
from lab.commands.watch import LOST
from lab.machines.base import ROOT
from lab.model import TunnelOptions
from lab.topology import designs
from selftests.live.conftest import leaving_nothing, on_this_kernel
from selftests.live.rig import Rig

PATIENCE = 60.0  # seconds within which something is to happen, on a busy machine too
EVERY = 3.0
KINDS = {"unicast", "broadcast", "multicast"}
DETACH, ATTACH = "ip link set vxlan2 nomaster", "ip link set vxlan2 master bridge0"


class Watching:
    """A watch that runs: its events, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[dict[str, Any]] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def until(self, event: str, **fields: Any) -> dict[str, Any]:
        """The next event of a name with these fields; fails when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no {event} {fields} within {PATIENCE:g} s; there were {self.seen}")
            assert line, f"the watch ended with no {event} {fields}; there were {self.seen}"
            self.seen.append(json.loads(line))
            if self.seen[-1]["event"] == event and fields.items() <= self.seen[-1].items():
                return self.seen[-1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, dict[str, Any]]:
        """Ends it by a signal; returns its exit status and its summary, which is its last line."""
        self.process.send_signal(number)
        summary = self.until("summary")
        status = self.process.wait(PATIENCE)
        assert self._lines.get(timeout=PATIENCE) == ""
        return status, summary


@pytest.fixture(scope="module")
def own_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Hosts that may be broken."""
    with on_this_kernel(tmp_path_factory.mktemp("rig")) as made:
        yield made


@pytest.fixture
def rig(own_rig: Rig) -> Iterator[Rig]:
    """The hosts; after the test there is no process and no file on them that was not there before it."""
    with leaving_nothing(own_rig):
        yield own_rig


@contextlib.contextmanager
def watching(rig: Rig, *options: str, every: float = 1.0) -> Iterator[Watching]:
    """A watch of all hosts of a rig, from its first round on."""
    command = [sys.executable, "-m", "lab", "watch", f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}"]
    process = subprocess.Popen(
        [*command, f"--every={every}", "--json-lines", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        watch = Watching(process)
        watch.until("first-round")
        yield watch
    finally:
        process.kill()
        process.communicate()


def break_it(rig: Rig, host: str, command: str) -> None:
    """Runs a command on a host, as its owner might."""
    done = rig.lab[host].node.run("sh", "-c", command)
    assert done["status"] == 0, done


@contextlib.contextmanager
def broken(rig: Rig, host: str, command: str, undo: str) -> Iterator[None]:
    """A command's effect for the length of a block."""
    break_it(rig, host, command)
    try:
        yield
    finally:
        break_it(rig, host, undo)


def test_a_fault_is_reported_with_its_cause_and_so_is_its_end(rig: Rig) -> None:
    """Each pair and kind that loses is named with the cause, once; the cause has the fix, and the fix ends it."""
    with watching(rig, every=EVERY) as watch:
        with broken(rig, "hub", DETACH, ATTACH):
            watch.until("lost", codes=["port-not-bridged"])
            finding = watch.until("finding", code="port-not-bridged")
            assert (finding["node"], finding["remedy"]) == ("hub", ATTACH)
        works = watch.until("works", **{"from": "spoke1", "to": "spoke2", "kind": "multicast"})
        watch.until("cleared", code="port-not-bridged")
        status, summary = watch.end()

    lost = [(event["from"], event["to"], event["kind"]) for event in watch.seen if event["event"] == "lost"]
    assert len(lost) == len(set(lost))
    assert {(pair[:2]) for pair in lost} == {
        *(("hub", "spoke2"), ("spoke2", "hub"), ("spoke1", "spoke2"), ("spoke2", "spoke1"))
    }
    assert {kind for sender, receiver, kind in lost if (sender, receiver) == ("spoke1", "spoke2")} == KINDS
    assert works["silent"] >= EVERY
    assert status == summary["status"] == LOST
    (figures,) = [
        each
        for each in summary["pairs"]
        if (each["from"], each["to"], each["kind"]) == ("spoke1", "spoke2", "multicast")
    ]
    assert figures["longest_silence"] == works["silent"]
    assert 0 < figures["lost"] < figures["sent"]
    assert figures["loss"] == figures["lost"] / figures["sent"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(rig: Rig, number: signal.Signals) -> None:
    """Nothing was lost: status 0, a summary of every pair and kind, and no agent is left."""
    with watching(rig) as watch:
        status, summary = watch.end(number)

        assert [host.left(1.0) for host in rig.hosts.values()] == [{}, {}, {}]

    assert (status, summary["status"], summary["lost"]) == (0, 0, 0)
    assert len(summary["pairs"]) == 6 * len(KINDS)
    assert all(0 <= each["p50"] <= each["p99"] < 0.1 for each in summary["pairs"])
    assert [event["event"] for event in watch.seen] == ["started", "first-round", "summary"]


def test_it_ends_by_itself(rig: Rig) -> None:
    """With --for it ends after so many seconds."""
    with watching(rig, "--for=2.5") as watch:
        summary = watch.until("summary")
        status = watch.process.wait(PATIENCE)

    assert status == 0
    assert 1 <= summary["rounds"] <= 3  # a busy machine leaves rounds out
    assert summary["sent"] == summary["rounds"] * 6 * len(KINDS)


def test_without_root_it_watches_too(rig: Rig) -> None:
    """What any user can read of the overlay names the cause; what only root can read is left out."""
    with watching(rig, "--hosts=opc@hub,opc@spoke1,opc@spoke2") as watch:
        with broken(rig, "hub", DETACH, ATTACH):
            finding = watch.until("finding", code="port-not-bridged")
        watch.until("cleared")
        status, _ = watch.end()

    assert (finding["node"], finding["host"]) == ("hub", "opc@hub")
    assert status == LOST


def captures(rig: Rig) -> dict[str, list[str]]:
    """The packet sockets of every host, by their inodes."""
    return {
        name: sorted(line.split()[-1] for line in host.node.read_net("packet").splitlines()[1:])
        for name, host in rig.lab.hosts.items()
    }


def test_nothing_is_captured_while_nothing_is_wrong(rig: Rig) -> None:
    """Reading the overlay and a diagnosis capture only for their duration: a permanent capture would grow for days."""
    before = captures(rig)
    with watching(rig) as watch:
        at_first = captures(rig)
        with broken(rig, "hub", DETACH, ATTACH):
            watch.until("finding")
        watch.until("cleared")
        afterwards = captures(rig)

    assert at_first == afterwards == before


def test_sigkill_leaves_nothing(rig: Rig) -> None:
    """The agents end with their connections (the fixture checks for leftovers)."""
    with watching(rig) as watch:
        assert all(host.agents() for host in rig.hosts.values())
        watch.process.kill()

        assert [host.left() for host in rig.hosts.values()] == [{}, {}, {}]


def test_a_host_that_is_lost_comes_back(rig: Rig) -> None:
    """A lost host is one line, the others continue; it takes part again as soon as it can be connected."""
    with watching(rig) as watch:
        (agent,) = rig.hosts["hub"].agents()
        os.kill(agent, signal.SIGKILL)
        gone = watch.until("gone", host="hub")
        back = watch.until("back", host="hub")
        with broken(rig, "hub", DETACH, ATTACH):
            watch.until("lost", codes=["port-not-bridged"])
        watch.until("cleared")
        status, summary = watch.end()

    before = watch.seen[: watch.seen.index(back)]
    assert [event["event"] for event in before] == ["started", "first-round", "gone"]
    assert "hub was lost" in gone["why"]
    sent = {(each["from"], each["to"]): each["sent"] for each in summary["pairs"]}
    assert sent["hub", "spoke1"] < sent["spoke1", "spoke2"]
    assert status == LOST


def test_a_host_that_was_gone_was_not_watched(rig: Rig) -> None:
    """Nothing was lost, but not everything was watched: the status is another one."""
    with watching(rig) as watch:
        (agent,) = rig.hosts["spoke2"].agents()
        os.kill(agent, signal.SIGKILL)
        watch.until("back", host="spoke2")
        status, _ = watch.end()

    assert status == 10


def test_a_host_that_cannot_be_reached_is_a_line(rig: Rig) -> None:
    """The others are watched from the beginning on."""
    specs = rig.specs.replace("spoke2", "ssh://spoke2:1")
    with watching(rig, f"--hosts={specs}") as watch:
        status, summary = watch.end()

    (gone,) = [event for event in watch.seen if event["event"] == "gone"]
    assert gone["host"] == "spoke2"
    assert gone["why"].startswith("not reached: spoke2:1: ")
    assert {(each["from"], each["to"]) for each in summary["pairs"]} == {("hub", "spoke1"), ("spoke1", "hub")}
    assert status == 10


def test_a_recreated_device_receives_the_group_again(rig: Rig) -> None:
    """A tunnel that is deleted and made again has no memberships: the watch has it join again, as programs must."""
    again = "ip link add vxlan2 type vxlan id 2 dstport 4789 local 10.0.0.131 remote 10.0.0.197 dev ens3 ttl 64"
    again += " && ip addr add 172.16.254.3/24 brd + dev vxlan2 && ip link set vxlan2 up"
    with watching(rig) as watch:
        with broken(rig, "spoke2", "ip link del vxlan2", f"{again} && ip route replace 224.0.0.0/4 dev vxlan2"):
            watch.until("finding", code="tunnel-missing")
        watch.until("works", **{"from": "spoke1", "to": "spoke2", "kind": "multicast"})
        watch.until("cleared")
        watch.end()


def test_copies_are_reported(rig: Rig) -> None:
    """What arrives twice is named as that, with its cause, and the fix that is printed ends it."""
    with watching(rig) as watch:
        break_it(rig, "spoke2", "bridge fdb append 00:00:00:00:00:00 dev vxlan2 dst 10.0.0.197")
        event = watch.until("duplicated", **{"from": "spoke2", "to": "spoke1", "kind": "broadcast"})
        finding = watch.until("finding", code="vxlan-entry-elsewhere")
        break_it(rig, finding["node"], finding["remedy"])
        watch.until("works", **{"from": "spoke2", "to": "spoke1", "kind": "broadcast"})
        status, summary = watch.end()

    assert event["codes"] == [finding["code"]]
    assert summary["duplicated"] > summary["lost"] == 0
    assert status == LOST


def test_for_people_it_is_lines_and_a_table(rig: Rig) -> None:
    """A line for each pair that changes with its kinds, the fix to paste, and the figures at the end."""
    command = [sys.executable, "-m", "lab", "watch", f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}"]
    with broken(rig, "hub", DETACH, ATTACH):
        done = subprocess.run([*command, "--for=1"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    lines = [line.partition("  ")[2] for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert "lost        spoke1 → spoke2  unicast, broadcast, multicast (port-not-bridged)" in lines
    assert any(line.strip() == f"fix (hub): {ATTACH}" for line in lines)
    assert any(line.startswith("summary     1 rounds in ") for line in lines)
    assert done.stdout.splitlines()[-1].split()[:6] == ["spoke2", "spoke1", "multicast", "1", "1", "(100.0%)"]


@pytest.mark.parametrize("shape", ["pair", "mesh", "flood-list"])
def test_hosts_without_a_hub_are_watched(tmp_path: Path, shape: str) -> None:
    """Every pair of a shape without a hub, and what its diagnosis finds when one host's device is down."""
    device = {"pair": "vxlan1", "mesh": "bridge0", "flood-list": "vxlan0"}[shape]
    spokes = 2 if shape == "pair" else 3
    topology = designs.topology(shape, spokes, TunnelOptions(kind="vxlan"), provider("oci").mtu)
    with on_this_kernel(tmp_path, topology=topology) as other, watching(other) as watch:
        with broken(other, "spoke2", f"ip link set {device} down", f"ip link set {device} up"):
            lost = watch.until("lost", **{"from": "spoke1", "to": "spoke2", "kind": "unicast"})
            watch.until("finding", node="spoke2", interface=device)
        status, summary = watch.end()

    assert watch.seen[0]["pairs"] == spokes * (spokes - 1)
    assert len(summary["pairs"]) == spokes * (spokes - 1) * len(KINDS)
    assert lost["codes"]
    assert status == LOST


def test_no_overlay_is_refused(tmp_path: Path) -> None:
    """Without an overlay to watch, the message names what is missing and the command with the details."""
    with on_this_kernel(tmp_path, overlay=False) as bare:
        command = [sys.executable, "-m", "lab", "watch", f"--hosts={bare.specs}", f"--ssh-config={bare.ssh_config}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("overcast: found no overlay on the hosts that can be watched")
    assert "fix: ./overcast doctor --hosts=" in done.stderr
