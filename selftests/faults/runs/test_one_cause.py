"""
A run in a broken lab has the causes that were injected and no other: what tests provoke in their labs is none.

    --inject  -->  the suite (of each area what provokes most)  -->  one finding, behind every failed test
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.failures.claims import EXPECTED
from lab.diagnose.codes import CODES, OF_OTHER_FINDINGS
from lab.faults import catalogue
from lab.probes.deadlines import BROKEN, SHORT
from lab.probes.fences import GRACE
from lab.requirements import CATALOGUE
from selftests.faults.matrix import inner
from selftests.faults.matrix.pool import Worker
from selftests.faults.runs import waits

PROVOKING = (
    "tests/article/test_communication.py",
    "tests/hub/test_forwarding.py",
    "tests/icmp/test_broadcast_ping.py",
    "tests/mtu/test_paths.py",
    "tests/resilience/test_new_port.py",
    "tests/snooping/test_pruning.py",
    "tests/ttl/test_routed_underlay.py",
    "tests/underlay/test_vxlan.py",
)
TUNNEL = inner.tunnel_for(catalogue.named("port-detached"))
PORT = f"{TUNNEL}2"
FAULTS = {
    "port-detached": ("port-not-bridged", "hub", PORT, f"ip link set {PORT} master bridge0"),
    "spoke1: ip route del 10.0.0.0/24": ("underlay-detour", "spoke1", "ens3", "ip route replace 10.0.0.0/24 dev ens3"),
    "spoke1: ip link set ens3 down": ("nic-down", "spoke1", "ens3", "ip link set ens3 up"),
}
BARE = re.compile(r"assert |\w+(Error|Iteration)\b|(\w+: )?found |[\[({'\"]|\w+ is (not )?among |\w+ is unreachable")
"""Values, or the kind of an exception: neither host nor place nor what the test requires."""
LOSS = re.compile(
    r"^\w+ (did not receive \w+'s .*: (lost|not sent)|did not answer \w+'s ping|cannot (send|connect) to) ?"
)
LOSING = "spoke1: iptables -I INPUT -i ens3 -m statistic --mode random --probability 0.3 -j DROP"
SILENT = "spoke4: iptables -I OUTPUT -d 172.16.254.255 -j DROP"
MOST_DIAGNOSES = 2  # before the tests, and at the first loss that this one did not show
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:allure_pytest")


@dataclass(frozen=True)
class Ran:
    """An inner run: what was printed, and conformance.json."""

    printed: str
    result: dict[str, Any]

    @property
    def findings(self) -> list[dict[str, Any]]:
        return list(self.result["findings"])

    @property
    def failed(self) -> dict[str, str]:
        """The reason of each failed test."""
        return {one["id"]: one["reason"] for one in self.result["tests"] if one["outcome"] == "failed"}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The process of the inner runs."""
    made = Worker()
    yield made
    made.close()


def run(worker: Worker, reports: Path, *arguments: str, tunnel: str = TUNNEL) -> Ran:
    """One inner run."""
    printed = worker.run([*OPTIONS, f"--tunnel={tunnel}", f"--reports={reports}", *arguments])
    result = reports / "conformance.json"
    assert result.exists(), printed
    return Ran(printed, json.loads(result.read_text(encoding="utf-8")))


@pytest.fixture(scope="module", params=FAULTS)
def broken(request, worker, tmp_path_factory):
    """A run under one fault, and what must be found."""
    return FAULTS[request.param], run(worker, tmp_path_factory.mktemp("run"), f"--inject={request.param}", *PROVOKING)


def test_is_the_one_that_was_injected(broken):
    """There is one finding, with its fix."""
    (code, node, interface, fix), ran = broken

    assert [(one["code"], one["node"], one["interface"]) for one in ran.findings] == [(code, node, interface)]
    assert ran.findings[0]["remedy"].startswith(fix)


def test_has_the_failed_tests_behind_it_and_what_they_assert(broken):
    """Every failed test is attributed to it, no other one is, and its requirements are theirs."""
    _, ran = broken
    (finding,) = ran.findings
    asserted = {identity for one in ran.result["tests"] if one["id"] in ran.failed for identity in one["requirements"]}

    assert set(finding["tests"]) == set(ran.failed)
    assert set(finding["requirements"]) == asserted


def test_is_printed_with_its_first_failure(broken):
    """The fix is on the screen within the first lines, not at the end of the run, also with -q."""
    (_, node, _, fix), ran = broken
    lines = ran.printed.splitlines()

    assert any(line.strip().startswith(f"fix ({node}): {fix}") for line in lines[:8]), "\n".join(lines[:8])


def test_is_named_by_each_failure(broken):
    """Each failure begins with receiver and packet, or with what was expected and found, and names the cause there."""
    (code, *_), ran = broken

    assert [reason for reason in ran.failed.values() if f"({code})" not in finding_line(reason)] == []
    assert [reason for reason in ran.failed.values() if BARE.match(reason)] == []


def finding_line(reason: str) -> str:
    """The first line of a failure that is not the requirement."""
    first, *more = reason.splitlines()
    return more[0] if first.startswith(EXPECTED) else first


def test_causes_a_loss_whose_message_names_receiver_and_packet(broken):
    """Most failures are losses, and their first line names sender, receiver and place."""
    _, ran = broken
    losses = [reason for reason in ran.failed.values() if LOSS.match(reason)]

    assert len(losses) > len(ran.failed) / 2, "\n".join(reason.splitlines()[0] for reason in ran.failed.values())


def test_a_fixture_that_finds_the_overlay_broken_fails_its_test(worker, tmp_path):
    """A test whose fixture needs a missing device fails with the cause, and is not counted as one that did not run."""
    ran = run(worker, tmp_path, "--inject=tunnel-missing", "tests/broadcast/test_named.py")

    assert list(ran.failed.values()) == [f"spoke2 has no device {PORT} (tunnel-missing)"]
    assert [one["code"] for one in ran.findings] == ["tunnel-missing"]
    assert "def links" not in ran.printed


CONFIGURATION = "tests/prerequisites/test_configuration.py"
BREAKING = {
    "default-by-overlay": "PRE-14",
    "port-detached": "HUB-02",
    "wrong-remote": "PRE-08",
    "prefix-16": "PRE-09",
    "spoke1: ip link del {tunnel}1": "PRE-08",
}
"""The requirement that a fault breaks by the configuration that is read back."""


@pytest.mark.parametrize("fault", BREAKING)
def test_a_finding_breaks_the_requirements_of_its_code_alone(worker, tmp_path, fault):
    """Of the configuration, a finding fails the test of the requirement that it concerns; the message has its place."""
    ran = run(worker, tmp_path, f"--inject={fault.format(tunnel=TUNNEL)}", CONFIGURATION)

    (finding,) = ran.findings
    assert finding["requirements"] == [BREAKING[fault]]
    (reason,) = ran.failed.values()
    place = f"{finding['node']} {finding['interface']}"
    assert finding_line(reason) == f"found {finding['code']} ({place}); expected no finding"


def test_every_requirement_of_a_code_is_asserted():
    """A finding whose requirement no test of the configuration asserts would fail nothing."""
    (asserted,) = re.findall(r"^REQUIREMENTS = \((.*)\)$", Path(CONFIGURATION).read_text(encoding="utf-8"), re.M)

    named = {OF_OTHER_FINDINGS, *(one for code in CODES.values() for one in code.requirements)}

    assert set(re.findall(r"[A-Z]+-\d+", asserted)) == named <= set(CATALOGUE)


def test_a_missing_bridge_is_one_cause(worker, tmp_path):
    """Without the hub's bridge its tunnels are ports of none: one finding, whose fix makes them ports."""
    ran = run(worker, tmp_path, "--inject=hub: ip link del bridge0", "tests/hub/test_forwarding.py")

    assert [one["code"] for one in ran.findings] == ["bridge-missing"]
    assert f"ip link set {PORT} up master bridge0" in ran.findings[0]["remedy"]


def bridged(number: int, tunnel: str = TUNNEL) -> str:
    """The option for a spoke with a bridge of its own, whose port the tunnel is: no fault."""
    device = f"{tunnel}{number}"
    return (
        f"--inject=spoke{number}: ip link add br0 type bridge && ip link set br0 up && ip link set {device} master br0"
        f" && ip addr flush dev {device} && ip addr add 172.16.254.{number + 1}/24 dev br0"
        " && ip route add 224.0.0.0/4 dev br0"
    )


LOOKING_AT_DEVICES = (
    "tests/hub/test_frames.py",
    "tests/hub/test_learning.py",
    "tests/ipv6/test_delivery.py",
    "tests/ipv6/test_mtu.py",
    "tests/multicast/test_range.py",
    "tests/prerequisites/test_macs.py",
    "tests/resilience/test_loop.py",
    "tests/resilience/test_mac_moves.py",
    "tests/security/test_spoke_trust.py",
    "tests/snooping/test_pruning.py",
)
"""Tests that look at what comes in at a spoke's tunnel, or change the device with its overlay address."""
LOOKING_AT_SIZES_AND_ADDRESSES = (
    "tests/broadcast/test_address.py",
    "tests/mtu/test_boundary.py",
    "tests/prerequisites/test_addresses.py",
    "tests/prerequisites/test_configuration.py",
    "tests/resilience/test_loop.py",
    "tests/underlay/test_clouds.py",
    "tests/underlay/test_vxlan.py",
)
"""Tests that compare the NICs' MTU with the tunnels', or the addresses of the overlay's devices with the overlay."""


def test_what_a_known_cause_loses_at_times_is_waited_for_as_a_fence(worker, tmp_path):
    """Where some packets to spoke1 are lost, those to it are waited for shortly, the others as on a healthy lab."""
    plugin = "selftests.faults.runs.waits"
    ran = run(worker, tmp_path, "-p", plugin, f"--inject={LOSING}", "tests/broadcast/test_delivery.py")
    waited = waits.of(ran.printed)

    assert len(ran.findings) == 1, ran.findings
    assert {one.seconds for one in waited.fences if one.receiver == "spoke1" != one.sender} == {SHORT}
    assert {one.seconds for one in waited.fences if {one.sender, one.receiver} == {"hub", "spoke2"}} == {GRACE}
    assert waited.gathered <= MOST_DIAGNOSES


WAITING = (
    "tests/broadcast/test_delivery.py",
    "tests/multicast/test_delivery.py",
    "tests/snooping/test_flooding.py",
    "tests/snooping/test_members.py",
)
"""Tests that wait for membership reports, and in which every host sends."""


def test_what_a_known_cause_loses_is_waited_for_shortly(worker, tmp_path):
    """Neither reports nor late datagrams are waited for in labs that the cause is in, and no table is read for it."""
    ran = run(worker, tmp_path, "-p", "selftests.faults.runs.waits", "--inject=port-detached", *WAITING)
    waited = waits.of(ran.printed)

    assert len(ran.findings) == 1, ran.findings
    assert len(ran.failed) > len(WAITING)
    assert max(waited.reports) <= BROKEN
    assert waited.late == []
    assert waited.tables == 0


def test_a_bridge_of_a_spoke_hides_no_cause(worker, tmp_path):
    """With a spoke's own bridge beside the fault the tests of private labs, too, are attributed to the fault."""
    tests = "tests/security/test_spoke_trust.py"

    ran = run(worker, tmp_path, bridged(1), "--inject=port-detached", tests)

    assert [one["code"] for one in ran.findings] == ["port-not-bridged"]
    assert set(ran.findings[0]["tests"]) == set(ran.failed) != set()
    assert "no explanation could be found" not in ran.printed


@pytest.mark.parametrize("tunnel", dict.fromkeys((TUNNEL, "gretap")))
def test_bridges_of_spokes_turn_nothing_red(worker, tmp_path, tunnel):
    """Where the spokes have their overlay addresses on bridges no test fails, ends in an error or leaves a change."""
    ran = run(worker, tmp_path, bridged(1, tunnel), bridged(2, tunnel), *LOOKING_AT_DEVICES, tunnel=tunnel)

    assert {one["outcome"] for one in ran.result["tests"]} == {"passed", "not-applicable"}, ran.printed
    assert ran.findings == []
    assert "leftover" not in ran.printed


@pytest.mark.parametrize("tunnel", dict.fromkeys((TUNNEL, "gretap")))
def test_larger_nics_and_further_networks_turn_nothing_red(worker, tmp_path, tunnel):
    """Where NICs take more than the cloud, and hosts have further addresses on the overlay, no test fails."""
    jumbo = [f"--inject={host}: ip link set ens3 mtu 9100" for host in ("hub", "spoke1", "spoke2")]
    further = [
        "--inject=hub: ip addr add 192.168.9.1/24 dev bridge0",
        f"--inject=spoke1: ip addr add 192.168.9.2/24 dev {tunnel}1",
    ]
    ran = run(worker, tmp_path, *jumbo, *further, *LOOKING_AT_SIZES_AND_ADDRESSES, tunnel=tunnel)

    assert {one["outcome"] for one in ran.result["tests"]} == {"passed"}, ran.printed
    assert ran.findings == []


OTHERS_TUNNEL = {"gretap": "key 9", "vxlan": "id 909 dstport 4789"}


@pytest.mark.parametrize("tunnel", dict.fromkeys((TUNNEL, "gretap")))
def test_a_tunnel_of_another_network_turns_nothing_red(worker, tmp_path, tunnel):
    """A second tunnel of the hub, to a host that is not in the overlay, fails no test of the tunnels."""
    made = f"ip link add other type {tunnel} {OTHERS_TUNNEL[tunnel]} local 10.0.0.197 remote 10.0.0.222"
    other = f"--inject=hub: {made} && ip link set other up"

    ran = run(worker, tmp_path, other, "tests/prerequisites/test_driver.py", tunnel=tunnel)

    assert {one["outcome"] for one in ran.result["tests"]} <= {"passed", "not-applicable"}, ran.printed
    assert ran.findings == []


def test_of_the_articles_commands_each_breaks_its_own_requirements(worker, tmp_path):
    """With the article's commands, each failure is put down to the route, the bridge's MAC or the TTL of tunnels."""
    tests = ("tests/hub/test_bridge_address.py", "tests/icmp/test_all_hosts_ping.py", "tests/multicast/test_range.py")

    ran = run(worker, tmp_path, "--topology=article", *tests)

    failed = {identity for one in ran.result["tests"] if one["id"] in ran.failed for identity in one["requirements"]}
    assert failed == {"HUB-08", "ICMP-05", "MCAST-08"}
    broken = {one["code"]: set(one["requirements"]) for one in ran.findings}
    assert broken == {
        "multicast-route-narrow": {"MCAST-08"},
        "bridge-mac-not-pinned": {"HUB-08"},
        "tunnel-ttl-inherit": {"ICMP-05"},
    }
    assert "no known cause" not in ran.printed


def test_what_a_host_beyond_the_sampled_ones_loses_is_seen(worker, tmp_path):
    """Of many spokes few send in most tests; a spoke that cannot broadcast turns BCAST-01 red all the same."""
    ran = run(worker, tmp_path, "--spokes=6", f"--inject={SILENT}", "tests/broadcast/test_delivery.py")

    outcomes = {one["id"]: one["outcome"] for one in ran.result["requirements"]}
    assert outcomes["BCAST-01"] == "failed", ran.printed[-3000:]
    assert [(one["code"], one["node"]) for one in ran.findings] == [("firewall-drops", "spoke4")]


def test_a_member_without_reports_is_explained_where_nothing_is_sent_to_groups(worker, tmp_path):
    """Tests in which hosts only join groups are put down to IGMP that is dropped."""
    filtered = "--inject=spoke1: iptables -A OUTPUT -p igmp -j DROP"
    ran = run(worker, tmp_path, filtered, "tests/ttl/test_routed_underlay.py")

    assert {one["code"] for one in ran.findings} == {"igmp-filtered"}
    assert len(ran.failed) > 1
    assert "no known cause" not in ran.printed


def test_a_querier_explains_what_the_hub_does_not_forward_to_new_members(worker, tmp_path):
    """A querier on a spoke makes the hub prune: what is sent to a group before a report is lost at the hub."""
    ran = run(worker, tmp_path, "--inject=querier-elsewhere", "tests/multicast/test_range.py")

    assert {one["code"] for one in ran.findings} == {"querier-elsewhere"}
    assert ran.failed
    assert "no known cause" not in ran.printed


def test_what_no_cause_explains_is_reported_with_its_place(worker, tmp_path):
    """Without a finding, each failure is reported by itself, with the place where the packet was lost."""
    ran = run(worker, tmp_path, "-p", "selftests.faults.runs.blind", "--inject=port-detached", *PROVOKING[:2])
    lost = [reason for reason in ran.failed.values() if f"lost at hub {PORT}" in reason.splitlines()[0]]

    assert ran.findings == []
    assert lost
    assert "no known cause" in ran.printed
    assert "def _judge" not in ran.printed, "a check's message is complete without the code that raised it"
