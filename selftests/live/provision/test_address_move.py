"""
`--provision --topology=standby` where keepalived moves the hub's address: the hub is lost, and the standby is the hub.

    hub, spoke1 (its standby): keepalived, with 10.0.0.200 on the master's NIC      spoke2, spoke3: the overlay's spokes
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import groups, provision
from lab.applications.packages import missing as lacking
from lab.laboratory import Lab
from lab.machines.live import hosts
from lab.machines.live.ssh import Connected
from lab.machines.node import Agent
from lab.model import TunnelOptions
from lab.probes.outage.stream import Stream
from lab.provision import Provisioned
from lab.stack import differences, state
from lab.stack.changes import addr_add, addr_del
from lab.topology import designs, roles
from reports.verdict.conformance import INCOMPLETE
from selftests.live.conftest import Reach, looked_at, on_this_kernel
from selftests.live.doctor.test_prerequisites import Report, ask
from selftests.live.measurements.test_stream import READY, rows
from selftests.live.moving_address import Pair, elected
from selftests.live.provision.runs import QUICK, Run, looked
from selftests.live.rig import Rig
from selftests.live.test_suite import run as verified

HOSTS = "hub,spoke1,spoke2,spoke3"
DELAY = 1.0  # seconds that the cloud takes to move the address
BRIDGE = [{"name": "bridge0"}]
USAGE = 4  # exit status of a run that did not begin
AGAIN = 10.0  # seconds until all spokes receive again
LEAST_SILENCE = 0.2  # seconds: more than two advertisements are missed before the standby takes over
STEADY = 0.5  # seconds of the stream between two events


@pytest.fixture(scope="module")
def clean_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Four hosts: a hub, its standby, and two spokes."""
    if lack := lacking("keepalived"):
        pytest.skip(lack)
    with on_this_kernel(tmp_path_factory.mktemp("clean"), spokes=3, overlay=False, shared=True) as made:
        yield made


@pytest.fixture
def pair(rig: Rig) -> Iterator[Pair]:
    """The hub and its standby, spoke1, with keepalived."""
    with elected(rig) as made:
        yield made


def set_up(connected: Connected) -> Provisioned:
    """Sets the design up on the hosts, as `--provision` does."""
    topology = designs.topology("standby", 2, TunnelOptions(kind="vxlan"), 9000)
    specs = hosts.parse(HOSTS)
    return provision.provision(roles.assigned(specs, connected, 1, True).connected.machines, topology)


def found(connected: Connected) -> tuple[str, Lab]:
    """Who is the hub of the hosts, as a run finds them, and the overlay."""
    who = roles.recognised(hosts.parse(HOSTS), connected)
    return who.note, looked_at(who.connected)


def require_delivery(lab: Lab) -> None:
    """Broadcast, multicast and unicast from every host reach every other host exactly once."""
    group = groups.fresh()
    for sender in lab.hosts.values():
        others = lab.others(sender)
        for to, fields in ((lab.everyone, {}), (group, {"group": group})):
            with lab.listen(others, **fields) as heard:
                sender.udp.send(to=to)
            heard.exactly_once(at=others)
        for other in others:
            with lab.listen([other]) as heard:
                sender.udp.send(to=lab[other].address())
            heard.exactly_once(at=[other])


def test_the_standby_is_the_hub_while_the_hub_is_lost(
    rig: Rig, pair: Pair, reach: Reach, record_property: Callable[[str, object], None]
) -> None:
    """The address moves, and all is delivered exactly once by the standby; it moves back; the hosts are restored."""
    before = looked(rig)
    connected = reach(HOSTS, config=rig.ssh_config)
    provisioned = set_up(connected)
    note, lab = found(connected)
    assert note.startswith("hub is the hub, spoke1 its standby")
    require_delivery(lab)

    with Stream(lab.nodes, lab.topology, "spoke1", ["spoke2"]) as stream:
        assert stream.await_heard(AGAIN)
        stream.event("lost")
        with rig.lab.cloud.stopped("hub", rig.lab["hub"].node):
            pair.api.grant("spoke1", delay=lambda: stream.go_on(DELAY))
            pair.await_address("spoke1")
            assert stream.await_heard(AGAIN)
            stream.go_on(STEADY)  # the last numbers before an event show whether delivery has recovered
            stream.event("moved")
            stream.go_on(STEADY)
            note, moved = found(connected)
            assert note == "spoke1 is the hub, hub its standby (the same tunnels, without their start 10.0.0.200)"
            require_delivery(moved)
        stream.event("back")
        pair.api.grant("hub")
        pair.await_address("spoke1", present=False)
        assert stream.await_heard(AGAIN)
        stream.go_on(STEADY)
        stream.event("steady")
        stream.go_on(STEADY)
    outages = stream.outages()
    silences = {one.silence for one in outages if one.event == "lost"}
    record_property("longest silence (s)", max(silences))
    assert min(silences) > DELAY, outages
    assert {one.silence for one in outages if one.event in ("moved", "steady")} == {0.0}, outages
    assert [one for one in outages if one.repeated or one.disordered or not one.recovered] == []
    require_delivery(found(connected)[1])
    provisioned.restore()

    assert looked(rig) == before


def streaming(run: Callable[..., Run], seconds: int = 15, *, inside: bool = False) -> Run:
    """A run that provisions the design and sends a stream; returns when it waits for the failure."""
    made = run("--topology=standby", f"--hosts={HOSTS}", f"--stream={seconds}", inside=inside)
    for line in made.process.lines():
        made.said.append(line)
        if READY in line:
            return made
    raise AssertionError("".join(made.said))


def test_a_run_prints_the_silence(rig: Rig, pair: Pair, run: Callable[..., Run]) -> None:
    """--stream prints how long the move took, for each receiver, and the hosts are restored."""
    made = streaming(run)
    with rig.lab.cloud.stopped("hub", rig.lab["hub"].node):
        pair.api.grant("spoke1")
        pair.await_address("spoke1")
    pair.api.grant("hub")
    pair.await_address("spoke1", present=False)
    status, said = made.ended()

    found = rows(said)
    assert {to for to, _ in found} == {"hub", "spoke2"}, said
    for silence, _, repeated, _ in found.values():
        assert "end" not in silence, said
        assert float(silence.removesuffix(" s")) > LEAST_SILENCE, said
        assert repeated == "0", said
    assert status == INCOMPLETE, said  # a stream is no test of a requirement
    assert "the overlay was removed: the hosts are as before the run\n" in said


def test_the_address_may_stay_at_the_standby(rig: Rig, pair: Pair, run: Callable[..., Run]) -> None:
    """The hub is lost until after the run: VRRP has moved the address, which is not a difference that a run left."""
    made = streaming(run)
    with rig.lab.cloud.stopped("hub", rig.lab["hub"].node):
        pair.api.grant("spoke1")
        status, said = made.ended()
    pair.api.grant("hub")
    pair.await_address("hub")
    pair.await_address("spoke1", present=False)

    assert status == INCOMPLETE, said
    assert "the hosts are as before the run, but for 10.0.0.200, which VRRP moved from hub to spoke1" in said


def doctor(capsys: pytest.CaptureFixture[str], rig: Rig) -> Report:
    """What the doctor reports of the hosts."""
    return ask(capsys, f"--hosts={HOSTS}", f"--ssh-config={rig.ssh_config}")


@contextlib.contextmanager
def dropping(rig: Rig) -> Iterator[None]:
    """For a block, the standby's firewall drops the hub's advertisements."""
    spoke1 = rig.lab["spoke1"].node
    assert spoke1.run("iptables", "-A", "INPUT", "-s", "10.0.0.197", "-p", "112", "-j", "DROP")["status"] == 0
    try:
        yield
    finally:
        spoke1.run("iptables", "-F", "INPUT")


def test_two_masters_are_a_finding(
    rig: Rig, pair: Pair, reach: Reach, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a firewall makes both hosts masters, the finding has its rule; after its fix one host has the address."""
    provisioned = set_up(reach(HOSTS, config=rig.ssh_config))
    assert doctor(capsys, rig).lines("problem") == {}
    with dropping(rig):
        pair.api.grant("spoke1")
        pair.await_address("spoke1")
        report = doctor(capsys, rig)
        _, result = verified(rig, tmp_path, f"--hosts={HOSTS}", "tests/prerequisites/test_configuration.py")
        found = report.lines("problem")
        assert set(found) == {("spoke1", "vrrp-two-masters")}, report.text
        said = found["spoke1", "vrrp-two-masters"]
        assert "ens3: spoke1 and hub are both VRRP masters; expected one (10.0.0.200 is on spoke1 and on hub; " in said
        assert "a firewall on spoke1 drops protocol 112 from 10.0.0.197 (" in said
        assert result["verdict"] == "nonconformant"
        assert [(one["code"], one["node"]) for one in result["findings"]] == [("vrrp-two-masters", "spoke1")]
        ((place, fix),) = re.findall(r"fix \((\w+)\): (.*)", said)
        assert rig.lab[place].node.run("sh", "-c", fix)["status"] == 0
        pair.await_address("spoke1", present=False)

        # the cloud has the address at spoke1 until the hub requests it again, as the finding states
        pair.stop("hub")
        pair.api.grant("spoke1")
        pair.start("hub")
        pair.api.grant("hub")
        pair.await_address("spoke1", present=False)
        assert doctor(capsys, rig).lines("problem") == {}
    provisioned.restore()


def test_without_a_master_no_command_is_printed(
    rig: Rig, pair: Pair, reach: Reach, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where keepalived has ended on both hosts, the doctor reports that neither has the tunnels' address."""
    provisioned = set_up(reach(HOSTS, config=rig.ssh_config))
    for name in reversed(pair.names):
        pair.stop(name)

    report = doctor(capsys, rig)
    pair.start("hub")
    pair.api.grant("hub")
    pair.await_address("hub")
    provisioned.restore()

    why = "layout not understood: hub and spoke1 have the same tunnels, and neither has 10.0.0.200, their start"
    assert why in report.text
    assert "systemctl status keepalived" in report.text
    assert report.lines("problem") == {}, report.text


def test_a_run_changes_nothing(rig: Rig, pair: Pair, reach: Reach, tmp_path: Path) -> None:
    """A run without --provision finds the hosts conformant, and leaves them as they were."""
    provisioned = set_up(reach(HOSTS, config=rig.ssh_config))
    before = state.of(rig.lab.nodes)
    done, result = verified(rig, tmp_path, "--hosts=spoke3,spoke1,hub,spoke2")
    assert differences.compared(before, state.of(rig.lab.nodes)) == []
    provisioned.restore()

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert (result["verdict"], result["findings"], result["environment"]["topology"]) == ("conformant", [], "standby")


def test_the_hub_is_named_first(rig: Rig, pair: Pair, run: Callable[..., Run]) -> None:
    """Where the second host has the address, the message names the host that must be first; nothing is changed."""
    status, said = run("--topology=standby", "--hosts=spoke1,hub,spoke2,spoke3", *QUICK).ended()

    assert status == USAGE, said
    assert "the address that it moves is on the standby: standby ens3 10.0.0.200; expected it on the hub" in said
    assert "fix: name the host that has 10.0.0.200 first in --hosts" in said


def test_of_several_addresses_none_is_guessed(rig: Rig, pair: Pair, run: Callable[..., Run]) -> None:
    """Where the hub has two further addresses, the message names them; nothing is changed."""
    hub = rig.lab["hub"].node
    with hub.changed(addr_add("ens3", "10.0.0.201/32"), addr_del("ens3", "10.0.0.201/32")):
        status, said = run("--topology=standby", f"--hosts={HOSTS}", *QUICK).ended()

    assert status == USAGE, said
    assert (
        "expected one address that VRRP moves from the hub to standby; found hub ens3 10.0.0.200, hub ens3 10" in said
    )


def test_a_hub_whose_connection_is_lost_restores_itself(rig: Rig, pair: Pair, run: Callable[..., Run]) -> None:
    """SSH goes over the NIC that is lost: the hub removes its part, and has none of it when the address moves back."""
    made = streaming(run, 30, inside=True)
    with rig.lab.cloud.stopped("hub", rig.lab["hub"].node):
        pair.api.grant("spoke1")
        assert not rig.lab["hub"].node.ask(Agent.await_entries, "links", BRIDGE, 30.0, present=False)
    pair.api.grant("hub")
    pair.await_address("spoke1", present=False)
    status, said = made.ended()

    assert "the hosts are as before the run\n" in said
    assert {silence.endswith(", to the end") for silence, *_ in rows(said).values()} == {True}, said
    assert status == INCOMPLETE, said
    assert "hub: the connection to it was lost" in said
