"""
A load is counted as it is, and what is in the way of a higher one is named.

    spoke1 ==rate==> hub, spoke2        a process sends, one for each receiver counts; a queue or a buffer is small
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.errors import CheckFailed
from lab.laboratory import BuiltLab
from lab.machines import program
from lab.machines.base import Machine
from lab.model import TunnelOptions, Underlay
from lab.probes.performance import throughput
from lab.probes.performance.drops import Drop
from lab.probes.performance.load import KINDS, Load, LoadKind, RateTrial, ReceiverResult
from lab.stack.changes import link_set
from lab.topology import topologies
from selftests import plain
from selftests.lab.processes import descendants

ROOT = Path(__file__).resolve().parents[3]
SLOW = 500.0  # datagrams a second: no machine is too busy for them
TUNNELS = {"local": "vxlan", "guest": "gretap"}


@pytest.fixture
def lab(any_machine: Machine) -> Iterator[BuiltLab]:
    """A hub and two spokes."""
    topology = topologies.star(2, TunnelOptions(kind=TUNNELS[any_machine.kind]))
    with laboratory.build(any_machine, topology, Underlay(provider("oci"))) as built:
        yield built


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_sent_is_counted_once(lab: BuiltLab, kind: LoadKind) -> None:
    """Every receiver of a slow load has every datagram once, with its time on the way."""
    with Load(lab.nodes, lab.topology, "spoke1", ["hub", "spoke2"]) as load:
        trial = load.send(kind, rate=SLOW, seconds=5.0, count=100)

    assert trial.sent == 100
    assert {name: (one.received, one.repeated, one.dropped) for name, one in trial.heard.items()} == dict.fromkeys(
        ["hub", "spoke2"] if kind in ("multicast", "broadcast") else ["hub"], (100, 0, 0)
    )
    assert trial.lost == 0
    assert trial.drops == ()
    assert all(len(one.latencies) == 100 for one in trial.heard.values())
    assert 0 < trial.latency(50) <= trial.latency(99) <= trial.latency(100)


def test_two_trials_do_not_mix(lab: BuiltLab) -> None:
    """Datagrams of one trial are not counted in the next."""
    with Load(lab.nodes, lab.topology, "spoke1", ["spoke2"]) as load:
        counts = [load.send("multicast", rate=SLOW, seconds=5.0, count=count) for count in (10, 20)]

    assert [trial.heard["spoke2"].received for trial in counts] == [10, 20]


def test_a_small_receive_buffer_is_named(lab: BuiltLab) -> None:
    """Receivers whose sockets have room for a few datagrams lose the rest of a burst, and that is what limits it."""
    with Load(lab.nodes, lab.topology, "spoke1", ["spoke2"], buffer=1) as load:
        trial = load.send("unicast", rate=0, seconds=1.0, count=5000)

    assert trial.lost > 0
    assert trial.heard["spoke2"].dropped == trial.lost
    assert throughput.limit_of(trial).startswith(f"spoke2: receive buffer, {trial.lost} datagrams dropped")


def test_a_burst_is_what_a_buffer_holds(lab: BuiltLab) -> None:
    """A receiver that does not read has of a burst what its buffer has room for, and more if that is larger."""
    held = []
    for octets in (20_000, 100_000):
        with Load(lab.nodes, lab.topology, "spoke1", ["spoke2"], buffer=octets, reading=False) as load:
            trial = load.send("multicast", rate=0, seconds=5.0, count=1000)
        held.append(trial.heard["spoke2"].received)
        assert trial.heard["spoke2"].dropped == trial.lost > 0

    assert held[1] == pytest.approx(5 * held[0], rel=0.2)


BUSY = """
import os, sys
os.setsid()
os.setpriority(os.PRIO_PROCESS, 0, -20)
open("/proc/self/autogroup", "w").write("-20")
os.sched_setaffinity(0, [0])
print("busy", flush=True)
while True: pass
"""


@pytest.mark.parametrize("any_machine", ["local"], indirect=True)  # a guest has one processor for everything
def test_a_taken_processor_is_named(lab: BuiltLab) -> None:
    """If other programs have the sender's processor, that is the limit, and for how much of the time."""
    with contextlib.ExitStack() as opened:
        load = opened.enter_context(Load(lab.nodes, lab.topology, "spoke1", ["spoke2"]))
        for _ in range(3):
            taking = opened.enter_context(subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE))
            opened.callback(taking.kill)
            assert taking.stdout is not None
            assert taking.stdout.readline() == b"busy\n"
        trial = load.send("unicast", rate=0, seconds=0.5)

    said = throughput.sender_limit(trial, 0)
    assert re.fullmatch(r"the sender: its process waited [3-9]\d% of its time for a processor", said), trial.waited


def test_a_throttled_tunnel_is_named(lab: BuiltLab) -> None:
    """A queue of the hub that drops a part of the load is reported as the limit, with its device."""
    port = lab.topology.port("hub", "spoke2")
    added = lab.hub.node.run(*f"tc qdisc add dev {port} root tbf rate 1mbit burst 2kb limit 4kb".split())
    if added["status"] != 0:
        pytest.skip(f"tbf: {added['errors'].strip()}; a guest kernel has it")

    with Load(lab.nodes, lab.topology, "spoke1", ["hub", "spoke2"]) as load:
        trial = load.send("multicast", rate=10_000, seconds=0.2)

    assert trial.heard["hub"].received == trial.sent
    assert trial.lost > 0
    assert throughput.limit_of(trial) == f"hub {port}: queue tbf dropped {trial.lost} packets"


def test_iperf_counts_the_same(lab: BuiltLab) -> None:
    """Through a queue that drops most of them, iperf gets as many datagrams a second as a load does."""
    port, rate, octets = lab.topology.port("hub", "spoke2"), 4000, 64
    if lab.hub.node.run("iperf", "--version")["status"] is None:
        pytest.skip("iperf is not installed: sudo apt-get install iperf")
    added = lab.hub.node.run(*f"tc qdisc add dev {port} root tbf rate 1mbit burst 2kb limit 4kb".split())
    if added["status"] != 0:
        pytest.skip(f"tbf: {added['errors'].strip()}; a guest kernel has it")
    receiver = lab["spoke2"]

    with Load(lab.nodes, lab.topology, "spoke1", ["spoke2"], size=octets) as load:
        ours = load.send("unicast", rate=rate, seconds=1.0)
    server = program.start(receiver.node, "iperf", "-s", "-u", package="iperf", ready="Server listening")
    lab["spoke1"].node.run(*f"iperf -c {receiver.address()} -u -l {octets} -b {rate}pps -t 1".split())
    report = server.await_output("%)", within=20.0)
    seconds, lost, sent = re.findall(r"-([\d.]+) sec .* (\d+)/ *(\d+) \(", report)[-1]

    assert ours.lost
    assert int(lost)
    theirs = (int(sent) - int(lost)) / float(seconds)
    assert theirs == pytest.approx(ours.heard["spoke2"].received / ours.seconds, rel=0.2)


def test_a_receiver_of_nothing_is_named(lab: BuiltLab) -> None:
    """A receiver that is cut off is no rate of zero: the measurement ends with its name."""
    lab.hub.node.apply(link_set(lab.topology.port("hub", "spoke2"), nomaster=True))

    with Load(lab.nodes, lab.topology, "spoke1", ["hub", "spoke2"]) as load:
        with pytest.raises(CheckFailed, match=r"^spoke2 received none of \d+ datagrams by multicast$"):
            throughput.measure(load, "multicast", seconds=0.1)


def test_no_process_is_left(lab: BuiltLab) -> None:
    """The processes of a load end with it."""
    before = set(descendants(os.getpid()))
    with Load(lab.nodes, lab.topology, "spoke1", ["hub", "spoke2"]):
        started = set(descendants(os.getpid())) - before
    if lab.machine.kind == "local":  # a guest's are its kernel's
        assert len(started) == 4
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


HEARD = ReceiverResult(received=90, repeated=0, dropped=0, ran=0.1, waited=0.0, latencies={})
TRIAL = RateTrial("multicast", 1000, sent=100, seconds=0.1, ran=0.1, waited=0.0, heard={"spoke2": HEARD}, drops=())


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (TRIAL, "no host counted the 10 datagrams that were lost: the network between the hosts"),
        (
            replace(TRIAL, heard={"spoke2": replace(HEARD, dropped=10)}),
            "spoke2: receive buffer, 10 datagrams dropped",
        ),
        (
            replace(TRIAL, heard={"spoke2": replace(HEARD, dropped=10, waited=0.3)}),
            "spoke2: receive buffer, 10 datagrams dropped, its process waited 75% of its time for a processor",
        ),
        (replace(TRIAL, drops=(Drop("hub", "", "backlog", 10),)), "hub: backlog dropped 10 packets"),
        (
            replace(TRIAL, drops=(Drop("hub", "ens3", "rx_dropped", 10),)),
            "hub ens3: rx_dropped dropped 10 packets",
        ),
    ],
    ids=["network", "buffer", "processor", "backlog", "device"],
)
def test_what_drops_is_the_limit(trial: RateTrial, said: str) -> None:
    """Of what lost datagrams, the place that counted most of them is the limit."""
    assert throughput.limit_of(trial) == said


@pytest.mark.parametrize(
    ("trial", "most", "said"),
    [
        (TRIAL, 1000.0, "not reached: 1000 a second was the most that was allowed"),
        (TRIAL, 0.0, "the sender: its processor is at its limit"),
        (
            replace(TRIAL, waited=0.05),
            0.0,
            "the sender: its process waited 50% of its time for a processor",
        ),
    ],
    ids=["bound", "sender", "processor"],
)
def test_what_keeps_a_sender_is_the_limit(trial: RateTrial, most: float, said: str) -> None:
    """If all datagrams arrive, the report names why the sender sends no more."""
    assert throughput.sender_limit(trial, most) == said


@pytest.mark.alone("starts a run of its own")
def test_a_rate_beyond_a_limit_turns_red(tmp_path: Path) -> None:
    """The suite's area LOAD holds at a rate that every host bears, and fails where a queue limits a tunnel."""
    limited = "--inject=spoke1: tc qdisc add dev ens3 root tbf rate 200kbit burst 2000 limit 3000"
    outcomes = []
    for name, given in (("whole", []), ("limited", [limited])):
        words = ["--tunnel=vxlan", "--kernel=host", "--load=500", f"--reports={tmp_path / name}", *given, "tests/load"]
        done = plain.run("-q", *words)
        result = json.loads((tmp_path / name / "conformance.json").read_text())
        outcomes.append({one["id"]: one["outcome"] for one in result["requirements"] if one["id"].startswith("LOAD")})
        named = {one["code"] for one in result["findings"]}
        assert ("traffic-impaired" in named) == bool(given), done.stdout

    ids = ("LOAD-01", "LOAD-02", "LOAD-03")
    assert outcomes == [dict.fromkeys(ids, "passed"), dict.fromkeys(ids, "failed")]
