"""
Live hosts without a hub, one of them broken: the finding is named at its host, and corrected by the printed fix.

    pair         spoke1 vxlan1 ==== vxlan1 spoke2
    mesh         spoke1, spoke2, spoke3: bridge0 <- an isolated port for each other host
    flood-list   spoke1, spoke2, spoke3: vxlan0 with an all-zeros entry for each other host
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.clouds.providers import provider
from lab.model import TunnelOptions
from lab.stack import state
from lab.topology import designs
from selftests.live.conftest import on_this_kernel
from selftests.live.doctor.test_prerequisites import ask
from selftests.live.rig import Rig
from selftests.live.test_suite import run

FLOOD = "00:00:00:00:00:00"
MORE = "dstport 4789 dev ens3 ttl 64"


@dataclass(frozen=True)
class Case:
    """What is done to a host of a shape, and what is found there."""

    shape: str
    node: str
    command: str
    code: str


CASES = (
    Case("pair", "spoke1", "ip link set vxlan1 down", "tunnel-down"),
    Case("pair", "spoke2", "ip link del vxlan1", "tunnel-missing"),
    Case("pair", "spoke2", "ip addr flush dev vxlan1", "overlay-address-missing"),
    Case(
        "pair",
        "spoke2",
        f"ip link del vxlan1 && ip link add vxlan1 type vxlan id 1 remote 10.0.0.9 local 10.0.0.131 {MORE} && "
        "ip link set vxlan1 up && ip addr add 172.16.254.3/24 dev vxlan1 && ip route add 224.0.0.0/4 dev vxlan1",
        "tunnel-remote-mismatch",
    ),
    Case("mesh", "spoke2", "bridge link set dev vxlan3 isolated off", "port-not-isolated"),
    Case("mesh", "spoke1", "ip link set vxlan2 nomaster", "port-not-bridged"),
    Case("mesh", "spoke3", "ip link set vxlan1 down", "tunnel-down"),
    Case("mesh", "spoke3", "ip link del vxlan1", "tunnel-missing"),
    Case("mesh", "spoke3", "ip link del bridge0", "bridge-missing"),
    Case("mesh", "spoke3", "ip addr flush dev bridge0 scope global", "overlay-address-missing"),
    Case(
        "mesh",
        "spoke1",
        f"ip link del vxlan2 && ip link add vxlan2 type vxlan id 1 remote 10.0.0.9 local 10.0.0.25 {MORE} && "
        "ip link set vxlan2 up master bridge0 && bridge link set dev vxlan2 isolated on",
        "tunnel-remote-mismatch",
    ),
    Case("flood-list", "spoke1", f"bridge fdb del {FLOOD} dev vxlan0 dst 10.0.0.131", "vxlan-flood-missing"),
    Case("flood-list", "spoke2", "ip link set vxlan0 down", "tunnel-down"),
    Case("flood-list", "spoke3", "ip link del vxlan0", "tunnel-missing"),
    Case("flood-list", "spoke3", "ip addr flush dev vxlan0", "overlay-address-missing"),
    Case("flood-list", "spoke3", "ip route del 224.0.0.0/4 dev vxlan0", "multicast-route-missing"),
)
VERDICTS = tuple(case for case in CASES if case.code in ("tunnel-down", "port-not-isolated", "vxlan-flood-missing"))


def broken(rig: Rig, case: Case) -> None:
    """Breaks the host of a case."""
    shell(rig, case.node, case.command)


def shell(rig: Rig, host: str, command: str) -> None:
    """Runs a command on a host, as its administrator would."""
    done = rig.lab[host].node.run("sh", "-ec", command)
    assert done["status"] == 0, (host, command, done)


def plan(shape: str) -> designs.Topology:
    """A shape as a lab has it, over VXLAN, with three hosts if it can have them."""
    return designs.topology(shape, 3, TunnelOptions(kind="vxlan"), provider("oci").mtu, nearest=True)


@pytest.mark.parametrize("shape", ["pair", "mesh", "flood-list"])
def test_a_healthy_shape_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: str) -> None:
    """The doctor tries every way between two hosts, finds no problem, and leaves the hosts as they were."""
    with on_this_kernel(tmp_path, topology=plan(shape), shared=True) as rig:
        before = state.fingerprint(rig.lab.nodes)
        report = ask(capsys, f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}")
        assert state.fingerprint(rig.lab.nodes) == before

    assert report.lines("problem") == {}, report.text
    assert report.status == 0, report.text
    good = report.lines("ok")
    assert good["all hosts", "overlay"].startswith(f"vxlan as a {shape}: spoke1 172.16.254.2"), report.text
    for one in rig.hosts:
        for other in rig.hosts:
            assert one == other or (f"{one} → {other}", "UDP 4789") in good


@pytest.mark.parametrize("case", CASES, ids=[f"{case.shape}, {case.code}" for case in CASES])
def test_the_printed_fix_corrects_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: Case) -> None:
    """One change of one host is one problem of one host; when each printed fix was run there, the hosts are ready."""
    with on_this_kernel(tmp_path, topology=plan(case.shape), shared=True) as rig:
        broken(rig, case)
        options = (f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}")
        report = ask(capsys, *options)
        problems = report.lines("problem")
        assert (case.node, case.code) in problems, report.text
        assert {host for host, _ in problems} == {case.node}, report.text
        fixes = [fix for text in problems.values() for fix in re.findall(r"fix \((\w+)\): (.*)", text)]
        for host, fix in dict.fromkeys(fixes):
            shell(rig, host, fix)

        after = ask(capsys, *options)
    assert after.lines("problem") == {}, f"{fixes}\n{after.text}"
    assert after.status == 0, after.text


@pytest.mark.parametrize("case", VERDICTS, ids=[f"{case.shape}, {case.code}" for case in VERDICTS])
def test_the_suite_names_it_too(tmp_path: Path, case: Case) -> None:
    """The suite's verdict is nonconformant, and its first finding is the injected change."""
    hosts, reports = tmp_path / "hosts", tmp_path / "reports"
    hosts.mkdir()
    with on_this_kernel(hosts, topology=plan(case.shape), shared=True) as rig:
        broken(rig, case)
        done, result = run(rig, reports, f"--hosts={rig.specs}", "tests/broadcast/test_delivery.py")

    assert result["verdict"] == "nonconformant", done.stdout[-3000:] + done.stderr
    assert (result["findings"][0]["code"], result["findings"][0]["node"]) == (case.code, case.node)
    assert result["findings"][0]["remedy"] in done.stdout
