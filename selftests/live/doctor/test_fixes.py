"""
The fixes that the doctor prints of live hosts, each run as it is printed, on the host that is printed.

    one host broken by a command  -->  doctor: finding and fix  -->  fix run there  -->  doctor: ready
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import EnvironmentProblem
from lab.faults.host import xdp
from lab.machines import firewall
from lab.machines.node import Node
from lab.model import VXLAN_PORT as PORT
from selftests.live.conftest import on_this_kernel
from selftests.live.doctor import test_prerequisites
from selftests.live.doctor.test_prerequisites import Doctor, ask, with_firewall
from selftests.live.rig import Rig

doctor = test_prerequisites.doctor

# code: the host, and what breaks it; `{port}` is the hub's to spoke2, `{device}` spoke2's
BROKEN = {
    "port-not-bridged": ("hub", "ip link set {port} nomaster"),
    "broadcast-not-flooded": ("hub", "bridge link set dev {port} bcast_flood off"),
    "multicast-route-missing": ("spoke2", "ip route del 224.0.0.0/4 dev {device}"),
    "tunnel-missing": ("spoke2", "ip link del {device}"),
    "tunnel-vni-mismatch": ("spoke2", "{remade} id 99 remote 10.0.0.197 local 10.0.0.131 dstport 4789 {placed}"),
    "tunnel-remote-mismatch": ("spoke2", "{remade} id 2 remote 10.0.0.9 local 10.0.0.131 dstport 4789 {placed}"),
    "overlay-address-missing": ("spoke2", "ip addr flush dev {device}"),
    "prefix-mismatch": ("spoke2", "ip addr flush dev {device} && ip addr add 172.16.254.3/16 dev {device}"),
    "hub-address-missing": ("hub", "ip addr flush dev bridge0"),
    "tunnel-down": ("spoke2", "ip link set {device} down"),
    "bridge-down": ("hub", "ip link set bridge0 down"),
    "device-noarp": ("spoke2", "ip link set {device} arp off"),
    "underlay-detour": ("spoke2", "ip route add 10.0.0.197/32 via 10.0.0.25"),
    "firewall-drops": ("spoke2", "iptables -A INPUT -i {device} -p udp -j DROP"),
}
REMADE = "ip link del {device} && ip link add {device} type vxlan"
PLACED = (
    "dev ens3 ttl 64 && ip link set vxlan2 up && ip addr add 172.16.254.3/24 dev vxlan2 "
    "&& ip route add 224.0.0.0/4 dev vxlan2"
)


@pytest.fixture
def own_rig(tmp_path: Path) -> Iterator[Rig]:
    """Hosts for one test: a fix restores what was broken, not what else there was."""
    with on_this_kernel(tmp_path, shared=True) as made:
        yield made


@pytest.mark.parametrize("code", BROKEN)
def test_the_printed_fix_corrects_it(own_rig: Rig, capsys: pytest.CaptureFixture[str], code: str) -> None:
    """The finding names its host; after each printed fix was run on the named host, the hosts are ready."""
    host, command = BROKEN[code]
    topology = own_rig.lab.topology
    names = {"port": topology.port("hub", "spoke2"), "device": topology.port("spoke2", "hub")}
    _run(own_rig, host, command.format(**names, remade=REMADE.format(**names), placed=PLACED))

    options = (f"--hosts={own_rig.specs}", f"--ssh-config={own_rig.ssh_config}")
    report = ask(capsys, *options)
    assert (host, code) in report.lines("problem"), report.text
    fixes = dict.fromkeys(
        fix for text in report.lines("problem").values() for fix in re.findall(r"fix \((\w+)\): (.*)", text)
    )
    for place, fix in fixes:
        _run(own_rig, place, fix.removeprefix("sudo "))

    after = ask(capsys, *options)
    assert after.lines("problem") == {}, f"{list(fixes)}\n{after.text}"


def _run(rig: Rig, host: str, command: str) -> None:
    done = rig.lab[host].node.run("sh", "-ec", command)
    assert done["status"] == 0, (host, command, done)


@contextlib.contextmanager
def changed(node: Node, command: str, undo: str) -> Iterator[None]:
    """A host that a command was run on, for the length of a block."""
    done = node.run("sh", "-ec", command)
    assert done["status"] == 0, done
    try:
        yield
    finally:
        node.run("sh", "-c", undo)


@pytest.mark.parametrize("host", ["hub", "spoke2"])
def test_a_tunnel_in_another_namespace_is_moved_back(
    own_rig: Rig, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    """A tunnel that sits in a container is found there; making it again fails, and the printed fix moves it back."""
    device = own_rig.lab.topology.port(host, "spoke2" if host == "hub" else "hub")
    entered = ["nsenter", "-t", str(own_rig.hosts[host].init), "-a", "sh", "-ec"]
    container = subprocess.Popen([*entered, "unshare -n sh -c 'echo $$; exec sleep 60'"], stdout=subprocess.PIPE)
    assert container.stdout is not None
    process = int(container.stdout.readline())
    try:
        subprocess.run([*entered, f"ip link set {device} netns {process}"], check=True, timeout=10)

        options = (f"--hosts={own_rig.specs}", f"--ssh-config={own_rig.ssh_config}")
        report = ask(capsys, *options)
        assert (host, "tunnel-elsewhere") in report.lines("problem"), report.text
        assert "sleep" in report.lines("problem")[host, "tunnel-elsewhere"]
        (fix,) = re.findall(rf"fix \({host}\): (.*)", report.lines("problem")[host, "tunnel-elsewhere"])
        subprocess.run([*entered, fix], check=True, timeout=10)

        after = ask(capsys, *options)
        assert after.lines("problem") == {}, f"{fix}\n{after.text}"
    finally:
        subprocess.run([*entered, f"kill {process}"], check=True, timeout=10)
        container.communicate(timeout=10)


def test_the_exception_is_made_by_the_tool_of_the_rule_that_drops(rig: Rig, doctor: Doctor) -> None:
    """When the printed command was run, the tunnel packets pass: with a tool of another kind they would not."""
    node = with_firewall(rig, "spoke2")
    with firewall.rules(
        node, ("INPUT", "-s", rig.hosts["hub"].address, "-p", "udp", "--dport", str(PORT), "-j", "DROP")
    ):
        found = doctor().lines("problem")["hub → spoke2", "UDP 4789"]
        (fix,) = re.findall(r"fix \(spoke2\): sudo (.*?) +#", found)
        with changed(node, fix, fix.replace(" -I ", " -D ")):
            assert doctor().lines("problem") == {}


def test_an_xdp_program_is_distinguished_from_a_cloud_rule(rig: Rig, doctor: Doctor) -> None:
    """Drops of a program on the NIC, before captures, are not reported as the cloud's; the printed fix ends them."""
    try:
        xdp.attach(rig.lab, "spoke2")
    except EnvironmentProblem as problem:
        pytest.skip(problem.message)
    node = rig.lab["spoke2"].node
    with changed(node, "true", "ip link set dev ens3 xdpgeneric off"):
        report = doctor()
        assert ("spoke2", "xdp-drops") in report.lines("problem")
        assert "XDP program" in report.lines("problem")["hub → spoke2", "UDP 4789"]
        assert "cloud rule" not in report.text
        (fix,) = re.findall(r"fix \(spoke2\): (ip link .*)", report.lines("problem")["spoke2", "xdp-drops"])
        assert node.run("sh", "-c", fix)["status"] == 0
        assert doctor().lines("problem") == {}


def test_a_policy_rule_for_tunnel_packets_is_distinguished_from_a_cloud_rule(rig: Rig, doctor: Doctor) -> None:
    """A policy rule for the host's outer address is named; where its table leads as the main one does, nothing is."""
    node, device = rig.lab["spoke2"].node, rig.lab["spoke2"].plan.nic
    own = rig.hosts["spoke2"].address
    made = f"ip route add {{}} dev {device} table 77 && ip rule add from {own} table 77"
    undo = "ip rule del table 77; ip route flush table 77"
    with changed(node, made.format("10.0.0.0/24"), undo):
        assert doctor().lines("problem") == {}
    with changed(node, made.format("default via 10.0.0.1"), undo):
        report = doctor()
        assert ("spoke2", "policy-rule") in report.lines("problem")
        assert not {what for _, what in report.lines("problem")} & {"vxlan-blocked", "gre-blocked"}
        (fix,) = re.findall(r"fix \(spoke2\): (ip rule .*)", report.lines("problem")["spoke2", "policy-rule"])
        assert node.run("sh", "-c", fix)["status"] == 0
        assert doctor().lines("problem") == {}


def test_an_address_that_comes_first_is_moved_behind_the_overlays(rig: Rig, doctor: Doctor) -> None:
    """A /32 that a device had first is not taken for the overlay address; it is the source for 224.0.0.x: a finding."""
    plan, node = rig.lab["spoke2"].plan, rig.lab["spoke2"].node
    route = f"ip route replace 224.0.0.0/4 dev {plan.device}"
    made = f"ip addr flush dev {plan.device} && ip addr add 192.0.2.9/32 dev {plan.device}"
    made += f" && ip addr add {plan.overlay} dev {plan.device} && {route}"
    with changed(node, made, f"ip addr del 192.0.2.9/32 dev {plan.device}; {route}"):
        report = doctor()
        assert [*report.lines("problem")] == [("spoke2", "overlay-source-foreign")]
        (fix,) = re.findall(r"fix \(spoke2\): (ip addr del .*)", report.text)
        assert node.run("sh", "-c", fix)["status"] == 0
        assert doctor().lines("problem") == {}
        assert "192.0.2.9" in node.run("ip", "addr")["output"]
