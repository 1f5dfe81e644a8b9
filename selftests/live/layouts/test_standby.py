"""
Live hosts with a standby hub, or with two hubs and STP: recognised in any order, judged, and left as they were.

    standby   hub 10.0.0.197: bridge0 <- tunnels       spoke3 (the standby): the same tunnels without that address,
                                                       or keepalived alone, with its peer on the hub
    STP       spokes: bridge0 <- a tunnel to each hub    hub ==== hub2, the root is the hub
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.applications.packages import missing as lacking
from lab.building import settle_spanning_tree
from lab.clouds.providers import provider
from lab.model import TunnelOptions
from lab.stack import differences, state
from lab.topology import designs, standby
from selftests.live.conftest import on_this_kernel, plan
from selftests.live.doctor.test_prerequisites import ask
from selftests.live.layouts.commands import HUB, SPOKE1, SPOKE2, bridge, tunnel
from selftests.live.layouts.test_recognition import COMMAND, INCOMPLETE, SOME
from selftests.live.rig import Rig
from selftests.live.test_suite import CONFIGURED_AND_DELIVERING, run

STP = "two-hubs-stp"
HOSTS = "--hosts=spoke3,spoke1,hub,spoke2"
FEW = (*CONFIGURED_AND_DELIVERING, "tests/redundancy")
SAME_TUNNELS = (
    tunnel("vxlan1", 1, HUB, SPOKE1),
    tunnel("vxlan2", 2, HUB, SPOKE2),
    bridge("bridge0", "vxlan1", "vxlan2"),
)


@contextlib.contextmanager
def with_standby(directory: Path, *commands: str, vrrp: bool = False) -> Iterator[Rig]:
    """A star of a hub and two spokes on four hosts; the fourth one, spoke3, is the hub's standby."""
    with on_this_kernel(directory, topology=plan(3)) as rig:
        for name, done in (("hub", "ip link del vxlan3"), ("spoke3", "ip link del vxlan3")):
            assert rig.lab[name].node.run("sh", "-c", done)["status"] == 0
        for command in commands:
            assert rig.lab["spoke3"].node.run("sh", "-c", command)["status"] == 0
        if vrrp:
            hub, other = rig.lab["hub"], rig.lab["spoke3"]
            standby.take_part(hub.node, rig.lab.topology, hub.plan, other.plan, standby.OWNER)
            standby.take_part(other.node, rig.lab.topology, other.plan, hub.plan, standby.BACKUP)
        yield rig


def failed(result: Mapping[str, Any]) -> dict[str, str]:
    """The requirements of a run that do not hold, with the reasons; it delivers from and to every host."""
    outcomes = {one["id"]: one["outcome"] for one in result["requirements"]}
    assert {outcomes[each] for each in ("BCAST-01", "BCAST-02", "MCAST-01")} == {"passed"}, outcomes
    return {one["id"]: one["reason"] for one in result["requirements"] if one["outcome"] == "failed"}


def test_the_host_with_the_same_tunnels_is_the_standby(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The host that lacks the address at which its tunnels start is the standby; the star of the others conforms."""
    reports = tmp_path / "reports"
    with with_standby(tmp_path, *SAME_TUNNELS) as rig:
        before = state.fingerprint(rig.lab.nodes)
        done, result = run(rig, reports, HOSTS, "-v", *FEW)
        report = ask(capsys, HOSTS, f"--ssh-config={rig.ssh_config}")
        assert state.fingerprint(rig.lab.nodes) == before

    assert failed(result) == {}, done.stdout[-6000:] + done.stderr
    assert (result["findings"], result["environment"]["topology"]) == ([], "standby")
    assert f"hub is the hub, spoke3 its standby (the same tunnels, without their start {HUB})" in done.stdout
    assert report.lines("problem") == {}, report.text


def test_the_host_with_vrrp_and_no_tunnel_is_the_standby(tmp_path: Path) -> None:
    """A host without a tunnel that runs VRRP, as the hub does, is the standby: nothing is missing on it."""
    if lack := lacking("keepalived"):
        pytest.skip(lack)
    reports = tmp_path / "reports"
    with with_standby(tmp_path, vrrp=True) as rig:
        before = state.of(rig.lab.nodes)
        done, result = run(rig, reports, HOSTS, "-v", *FEW)
        assert differences.compared(before, state.of(rig.lab.nodes)) == []

    assert failed(result) == {}, done.stdout[-6000:] + done.stderr
    assert (result["findings"], result["environment"]["topology"]) == ([], "standby")
    assert "hub is the hub, spoke3 its standby (VRRP on both, and no tunnel)" in done.stdout


def test_the_host_with_the_address_is_the_hub_without_tunnels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hub has lost its tunnels, as by a reboot, and the standby still has them: the fixes make the hub's again."""
    with with_standby(tmp_path, *SAME_TUNNELS) as rig:
        gone = "ip link del vxlan1 && ip link del vxlan2 && ip link del bridge0"
        assert rig.lab["hub"].node.run("sh", "-c", gone)["status"] == 0
        report = ask(capsys, HOSTS, f"--ssh-config={rig.ssh_config}")
        problems = report.lines("problem")
        fixes = dict.fromkeys(fix for text in problems.values() for fix in re.findall(r"fix \(.*\): (.*)", text))
        for fix in fixes:
            assert rig.lab["hub"].node.run("sh", "-c", fix)["status"] == 0, fix
        after = ask(capsys, HOSTS, f"--ssh-config={rig.ssh_config}")

    assert {place for place, _ in problems} == {"hub"}, report.text
    assert fixes, report.text
    assert after.lines("problem") == {}, after.text


def test_two_hosts_with_the_address_are_not_understood(tmp_path: Path) -> None:
    """Where both have the tunnels and the address the run names the hosts, and no command."""
    reports = tmp_path / "reports"
    with with_standby(tmp_path, *SAME_TUNNELS, f"ip addr add {HUB}/32 dev lo") as rig:
        before = state.fingerprint(rig.lab.nodes)
        done, result = run(rig, reports, "--hosts=hub,spoke1,spoke2,spoke3", *SOME)
        assert state.fingerprint(rig.lab.nodes) == before

    assert (done.returncode, result["verdict"], result["findings"]) == (INCOMPLETE, "incomplete", [])
    why = f"layout not understood: hub and spoke3 have the same tunnels, and both have {HUB}, their start"
    assert why in done.stdout
    assert [line for line in done.stdout.splitlines() if COMMAND.search(line)] == []


@contextlib.contextmanager
def with_spanning_tree(directory: Path, *commands: tuple[str, str]) -> Iterator[Rig]:
    """Two hubs and two spokes that bridge a tunnel to each, once STP has chosen the ports that forward."""
    topology = designs.topology(STP, 2, TunnelOptions(kind="vxlan"), provider("oci").mtu)
    with on_this_kernel(directory, topology=topology) as rig:
        for name, command in commands:
            assert rig.lab[name].node.run("sh", "-c", command)["status"] == 0
        settle_spanning_tree(topology, rig.lab.nodes)
        yield rig


def test_spanning_tree_between_two_hubs_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The root and the other hub are the hubs; what is delivered conforms, and the run and the doctor warn of STP."""
    hosts, reports = "--hosts=spoke2,hub2,spoke1,hub", tmp_path / "reports"
    with with_spanning_tree(tmp_path) as rig:
        before = state.of(rig.lab.nodes)
        done, result = run(rig, reports, hosts, "-v", *FEW)
        report = ask(capsys, hosts, f"--ssh-config={rig.ssh_config}")
        assert differences.compared(before, state.of(rig.lab.nodes)) == []

    assert failed(result) == {}, done.stdout[-6000:] + done.stderr
    assert (result["findings"], result["environment"]["topology"]) == ([], STP)
    assert "hub and hub2 are the hubs; the loss of a hub stops all delivery for seconds: use a bond" in done.stdout
    assert report.lines("problem") == {}, report.text
    assert ("hub", "stp-between-hubs") in report.lines("warning")


def test_spanning_tree_with_another_root_is_not_understood(tmp_path: Path) -> None:
    """Where a spoke is the root of STP, packets take other paths; the run names it by its place, and no command."""
    reports = tmp_path / "reports"
    root = ("spoke1", "ip link set bridge0 type bridge priority 0 && ip link set bridge0 address 02:00:00:00:00:01")
    with with_spanning_tree(tmp_path, root) as rig:
        done, result = run(rig, reports, "--hosts=hub,hub2,spoke1,spoke2", *SOME)

    assert (done.returncode, result["verdict"], result["findings"]) == (INCOMPLETE, "incomplete", [])
    assert "layout not understood: the root of STP is spoke2 bridge0; expected a bridge of hub or spoke1" in done.stdout
    assert [line for line in done.stdout.splitlines() if COMMAND.search(line)] == []
