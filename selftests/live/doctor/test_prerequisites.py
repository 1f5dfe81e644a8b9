"""
`./overcast doctor --hosts=`: missing prerequisites are listed with their fixes, and nothing is changed.

    doctor --ssh-- hub, spoke1, spoke2: an sshd each, joined by VXLAN over the emulated cloud
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import laboratory
from lab.checkup import examination, underlay_probe
from lab.commands.main import main
from lab.errors import EnvironmentProblem
from lab.machines import firewall
from lab.machines.node import Node
from lab.model import VXLAN_PORT as PORT
from lab.stack import state
from lab.stack.changes import link_set
from lab.underlay.policy import JUMP_EQUAL, LOAD_HALF, CloudRule
from selftests.live.rig import Rig

UDP_DESTINATION = 36  # its offset in an untagged Ethernet frame that carries IPv4 without options
HOST = r"\S+(?: \(\S+\))?"
LINE = re.compile(rf"(ok|warning|problem) +(all hosts|{HOST}(?: → {HOST})?) {{2,}}(\S+(?: \S+)*?) {{2,}}(.*)")


@dataclass(frozen=True)
class Report:
    """What the doctor said."""

    status: int
    text: str

    def lines(self, state: str) -> dict[tuple[str, str], str]:
        """What was found, by where and what, with the remedy that follows."""
        found: dict[tuple[str, str], str] = {}
        last = None
        for line in self.text.splitlines():
            match = LINE.fullmatch(line)
            if match:
                last = (match[2], match[3]) if match[1] == state else None
                if last:
                    found[last] = match[4]
            elif last and line.startswith("   "):
                found[last] += "\n" + line.strip()
        return found


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> Report:
    """Runs the command."""
    status = main(["doctor", *arguments])
    output, errors = capsys.readouterr()
    return Report(status, output + errors)


Doctor = Callable[..., Report]


@pytest.fixture
def doctor(rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    """Runs the doctor; afterwards the whole configuration of the hosts is unchanged."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    before = state.fingerprint(rig.lab.nodes)

    def examine(hosts: str = "hub,spoke1,spoke2", *arguments: str) -> Report:
        return ask(capsys, f"--hosts={hosts}", f"--ssh-config={rig.ssh_config}", *arguments)

    yield examine
    assert state.fingerprint(rig.lab.nodes) == before


def without_vxlan() -> CloudRule:
    """A cloud rule that drops the carrier of this overlay."""
    return CloudRule(LOAD_HALF, UDP_DESTINATION, JUMP_EQUAL, PORT)


def with_firewall(rig: Rig, host: str) -> Node:
    """The host, when its kernel has an iptables that works."""
    node = rig.lab[host].node
    try:
        firewall.tool(node)
    except EnvironmentProblem as problem:
        pytest.skip(problem.message)
    return node


def test_healthy_hosts_are_ready(doctor: Doctor) -> None:
    """Everything is examined, both directions between the hub and every spoke, and no problem is found."""
    report = doctor()

    assert report.lines("problem") == {}, report.text
    assert report.status == 0, report.text
    good = report.lines("ok")
    for way in ("hub → spoke1", "spoke1 → hub", "hub → spoke2", "spoke2 → hub"):
        assert good[way, "UDP 4789"].startswith("arrives, and passes the firewall of")
    for host in ("hub", "spoke1", "spoke2"):
        assert {(host, what) for what in ("host", "rights", "vxlan")} <= set(good)
    assert good["all hosts", "MTU"].startswith("8950")
    assert good["all hosts", "overlay"].startswith("vxlan over bridge0: hub 172.16.254.1, spoke1")
    assert report.text.splitlines()[-1].startswith("the hosts are ready")


@pytest.mark.parametrize(("origin", "target"), [("spoke1", "hub"), ("hub", "spoke1")])
def test_a_cloud_rule_is_named_with_its_direction(rig: Rig, doctor: Doctor, origin: str, target: str) -> None:
    """Where the cloud drops the tunnel's packets one way, that way is named, and that other packets pass."""
    # what the hub sends passes to the other spoke no more either
    with rig.lab.cloud.dropping(origin, without_vxlan()):
        report = doctor()

    problems = report.lines("problem")
    assert report.status == 1
    assert (f"{target} → {origin}", "UDP 4789") in report.lines("ok")
    found = problems[f"{origin} → {target}", "UDP 4789"]
    assert f"leaves {origin} and does not arrive" in found
    assert "unlike ICMP echo and UDP: a cloud rule" in found
    assert f"fix: let UDP 4789 in from {rig.hosts[origin].address}/32" in found
    ways = {where for where, what in problems if what == "UDP 4789"}
    assert ways <= {f"{origin} → {name}" for name in rig.hosts}
    assert ("cloud", "vxlan-blocked") in problems


def test_an_unreachable_host_is_distinguished_from_a_cloud_rule(rig: Rig, doctor: Doctor) -> None:
    """If neither UDP nor ICMP arrive, the report does not blame only the tunnel's protocol."""
    address = rig.hosts["hub"].address
    elsewhere = CloudRule(LOAD_HALF, 32, JUMP_EQUAL, int(address.rpartition(".")[0].rpartition(".")[2]) << 8 | 197)
    with rig.lab.cloud.dropping("spoke1", elsewhere):
        found = doctor().lines("problem")["spoke1 → hub", "UDP 4789"]

    assert "nor do UDP and ICMP echo" in found


def test_a_hosts_own_firewall_is_distinguished_from_the_clouds(rig: Rig, doctor: Doctor) -> None:
    """A packet that arrives at the NIC and goes no further is the host's own matter, and its rule is quoted."""
    node = with_firewall(rig, "spoke2")
    rule = ("INPUT", "-p", "udp", "--dport", str(PORT), "-j", "DROP")
    with firewall.rules(node, rule):
        report = doctor()

    assert set(report.lines("problem")) == {("hub → spoke2", "UDP 4789"), ("spoke2", "tunnel-packets-dropped")}
    found = report.lines("problem")["hub → spoke2", "UDP 4789"]
    assert "arrives at spoke2 ens3, and its own firewall drops it (INPUT: -p udp" in found
    assert re.search(
        r"fix \(spoke2\): sudo iptables-\w+ -t filter -I INPUT -s 10.0.0.197 -p udp --dport 4789 -j ACCEPT", found
    )


def test_a_firewall_that_takes_answers_only(rig: Rig, doctor: Doctor) -> None:
    """A host that accepts tunnel packets only after it has sent some itself is detected from its rules."""
    rules = [("INPUT", "-p", "gre", "-m", "state", "--state", "ESTABLISHED", "-j", "ACCEPT")]
    with firewall.rules(with_firewall(rig, "spoke1"), *rules, ("INPUT", "-p", "gre", "-j", "DROP")):
        report = doctor("hub,spoke1", "--tunnel=gretap")

    # the probe from the host itself has made it take the one to it for an answer
    assert ("hub → spoke1", "protocol 47") in report.lines("ok")
    found = report.lines("problem")["hub → spoke1", "protocol 47, unsolicited"]
    stateful = "spoke1 accepts it only as ESTABLISHED; drops it once the conntrack entry expires"
    assert f"{stateful} (INPUT: -p gre -j DROP" in found
    assert re.search(r"fix \(spoke1\): sudo iptables-\w+ -t filter -I INPUT -s 10.0.0.197 -p gre -j ACCEPT", found)


def test_a_firewall_that_takes_only_the_tunnel(rig: Rig, doctor: Doctor) -> None:
    """A host that accepts the tunnel's packets and drops what they carry is diagnosed as in the suite."""
    node = with_firewall(rig, "spoke2")
    with firewall.rules(node, ("INPUT", "-i", rig.lab["spoke2"].plan.device, "-p", "udp", "-j", "REJECT")):
        report = doctor()

    ((where, found),) = report.lines("problem").items()
    assert where == ("spoke2", "firewall-drops")
    assert "-A INPUT -i vxlan2 -p udp -j REJECT" in found
    assert re.search(r"fix \(spoke2\): iptables\S* -t filter -I INPUT -i vxlan2 -p udp -j ACCEPT", found)


def test_a_parameter_is_named(rig: Rig, doctor: Doctor) -> None:
    """A host that answers no broadcast ping is one problem: with an overlay, the finding that the suite has."""
    with rig.lab["spoke2"].node.with_sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 1):
        report = doctor()

    assert list(report.lines("problem")) == [("spoke2", "broadcast-ping-ignored")]
    found = report.lines("problem")["spoke2", "broadcast-ping-ignored"]
    assert "fix (spoke2): sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0" in found
    kept = "'net.ipv4.icmp_echo_ignore_broadcasts = 0' >> /etc/sysctl.d/90-overlay.conf"
    assert f"fix for good (spoke2): printf '%s\\n' {kept}" in found


def test_mtus_that_differ(rig: Rig, doctor: Doctor) -> None:
    """An overlay device that takes less than the others is named, with the command that makes them agree."""
    device = rig.lab["spoke1"].plan.device
    change, undo = link_set(device, mtu=1450), link_set(device, mtu=8950)
    with rig.lab["spoke1"].node.changed(change, undo):
        report = doctor()

    assert list(report.lines("problem")) == [("spoke1", "mtu-mismatch")]
    found = report.lines("problem")["spoke1", "mtu-mismatch"]
    assert f"fix (spoke1): ip link set {device} mtu 8950" in found


def test_a_way_with_a_smaller_mtu(rig: Rig, doctor: Doctor) -> None:
    """A packet of the NICs' own MTU that does not get through is found, however well small ones do."""
    port = rig.lab.cloud.port_of("spoke1")
    change, undo = link_set(port, mtu=1500), link_set(port, mtu=9000)
    with rig.lab.fabric.changed(change, undo):
        report = doctor()

    found = report.lines("problem")["hub → spoke1", "path MTU"]
    assert "ping -qc1 -W1 -Mdo" in found
    assert "less the tunnel's headers (gretap 38, vxlan 50)" in found
    assert ("hub → spoke1", "UDP 4789") in report.lines("ok")


def test_the_same_mac_address_twice(rig: Rig, doctor: Doctor) -> None:
    """Two overlay devices with one MAC address are named, both."""
    first, second = rig.lab["spoke1"], rig.lab["spoke2"]
    mine = second.node.link(second.plan.device).mac
    theirs = first.node.link(first.plan.device).mac
    change = link_set(second.plan.device, address=theirs)
    with second.node.changed(change, link_set(second.plan.device, address=mine)):
        report = doctor()

    found = report.lines("problem")["spoke2", "duplicate-mac"]
    assert theirs in found
    assert f"fix (spoke2): ip link set {second.plan.device} address " in found


def test_a_half_configured_overlay(rig: Rig, doctor: Doctor) -> None:
    """A fault of the overlay's own configuration is reported with its fix."""
    port = rig.lab.topology.port("hub", "spoke2")
    detach = link_set(port, nomaster=True)
    attach = link_set(port, master=rig.lab.topology.bridge)
    with rig.lab.hub.node.changed(detach, attach):
        report = doctor()

    found = report.lines("problem")["hub", "port-not-bridged"]
    assert f"fix (hub): ip link set {port} master bridge0" in found


def test_without_root_on_a_host(rig: Rig, doctor: Doctor) -> None:
    """A check that needs root is reported as such for an ordinary user, and is no problem; the others run."""
    report = doctor("hub,opc@spoke1,spoke2")

    warnings = report.lines("warning")
    assert report.status == 0, report.text
    spoke1 = "opc@spoke1 (spoke1)"
    assert "not root" in warnings[spoke1, "rights"]
    assert "in --hosts: ssh://opc@spoke1?sudo=true" in warnings[spoke1, "rights"]
    assert "needs root on spoke1" in warnings[f"{spoke1} → hub", "UDP 4789"]
    assert "root on spoke1 (--sudo)" in warnings[f"hub → {spoke1}", "UDP 4789"]
    assert ("hub → spoke2", "UDP 4789") in report.lines("ok")


def test_an_icmp_error_stands_for_root_on_the_receiver(rig: Rig, doctor: Doctor) -> None:
    """A host's answer to the probe shows whether it arrives, and whether the firewall there rejects it."""
    arrives = doctor("hub,opc@spoke1", "--tunnel=gretap")
    rule = ("INPUT", "-p", "gre", "-j", "REJECT", "--reject-with", "icmp-admin-prohibited")
    with firewall.rules(with_firewall(rig, "spoke1"), rule):
        rejected = doctor("hub,opc@spoke1", "--tunnel=gretap")

    way = "hub → opc@spoke1 (spoke1)"
    assert arrives.lines("ok")[way, "protocol 47"].startswith("arrives")
    found = rejected.lines("problem")[way, "protocol 47"]
    assert "the firewall of spoke1 rejects it (ICMP 3/13, administratively prohibited)" in found


@pytest.mark.parametrize(
    ("module", "step", "seconds"), [(underlay_probe, "cross", 6.0), (examination, "_booted", 16.0)]
)
def test_a_host_that_stops_answering_does_not_block_the_others(
    rig: Rig, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, seconds: float
) -> None:
    """A host that is lost at any step is a named problem; the others' results are kept."""
    monkeypatch.setattr(examination, "TIME", seconds)
    stopped: list[int] = []

    def stop_first(*arguments: Any) -> Any:
        stopped.extend(rig.hosts["spoke1"].agents())
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        return go_on(*arguments)

    go_on = getattr(module, step)
    monkeypatch.setattr(module, step, stop_first)
    try:
        report = doctor()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)

    assert stopped
    assert report.status == 1
    assert "spoke1 did not answer in time" in report.lines("problem")["spoke1", "host"]
    assert "was lost" not in report.text
    assert ("hub → spoke2", "UDP 4789") in report.lines("ok"), report.text
    assert ("spoke1", "vxlan") in report.lines("ok")


def test_an_unreachable_host_does_not_block_the_others(rig: Rig, doctor: Doctor) -> None:
    """The unreachable host is a problem, and the others are examined."""
    report = doctor("hub,spoke1,nowhere.invalid")

    assert report.status == 1
    assert next(iter(report.lines("problem"))) == ("nowhere.invalid (spoke2)", "host")
    assert "not reached: nowhere.invalid: " in report.lines("problem")["nowhere.invalid (spoke2)", "host"]
    assert len(report.lines("problem")) == 1, report.text  # the hub's tunnel to it is no fault
    assert ("spoke1 → hub", "UDP 4789") in report.lines("ok")


def test_without_the_hub_the_spokes_are_looked_at_alone(rig: Rig, doctor: Doctor) -> None:
    """Without its hub no overlay is reported, but each spoke's configuration is."""
    report = doctor("nowhere.invalid,spoke1")

    assert list(report.lines("problem")) == [("nowhere.invalid (hub)", "host")]
    assert ("spoke1", "vxlan") in report.lines("ok")
    assert "were not examined: the hub was not reached" in report.lines("warning")["all hosts", "overlay"]


def test_another_tunnel_than_the_one_that_is_there(rig: Rig, doctor: Doctor) -> None:
    """Asked for gretap, the doctor probes protocol 47, and looks for its driver."""
    report = doctor("hub,spoke1", "--tunnel=gretap")

    assert ("hub → spoke1", "protocol 47") in report.lines("ok"), report.text
    lines = report.lines("ok") | report.lines("problem")
    assert ("hub", "ip_gre") in lines


def test_what_is_not_probed_is_named(doctor: Doctor) -> None:
    """For an overlay over IPv6 the path is not tested, and the report states it."""
    report = doctor("hub,spoke1", "--tunnel=ip6gretap")

    assert "not tried over IPv6" in report.lines("warning")["all hosts", "protocol 47"]
    assert ("hub", "ip6_gre") in report.lines("ok") | report.lines("problem")


def test_hosts_without_an_overlay(shared_rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before an overlay is set up the hosts are examined, too, at the addresses of their default routes."""
    lab = laboratory.build(shared_rig.lab.machine, shared_rig.lab.topology, shared_rig.lab.underlay, overlay=False)
    with lab, contextlib.closing(Rig(lab, tmp_path)) as bare:
        main(["doctor", "--hosts=hub,spoke1", f"--ssh-config={bare.ssh_config}", "--tunnel=vxlan"])
    report = Report(0, capsys.readouterr().out)

    assert set(report.lines("problem")) == {("hub", "broadcast ping"), ("spoke1", "broadcast ping")}
    assert "none is set up" in report.lines("warning")["all hosts", "overlay"]
    assert report.lines("ok")["spoke1 → hub", "UDP 4789"].startswith("arrives")


def test_gre_blocked_one_way(rig: Rig, doctor: Doctor) -> None:
    """Protocol 47 that the cloud drops one way is named, though no tunnel of it is there."""
    with rig.lab.cloud.without_gre("spoke1"):
        report = doctor("hub,spoke1", "--tunnel=gretap")

    assert "leaves spoke1 and does not arrive" in report.lines("problem")["spoke1 → hub", "protocol 47"]
    assert ("hub → spoke1", "protocol 47") in report.lines("ok")


def test_it_takes_seconds(doctor: Doctor) -> None:
    """Three hosts are examined in seconds."""
    began = time.monotonic()
    doctor()

    assert time.monotonic() - began < 8.0  # a second and a half on a machine that has nothing else to do
