"""How one finding is shown on a terminal."""

from __future__ import annotations

import subprocess

import pytest

from lab.output.finding_text import MODULES, MOST_LINES, SYSCTLS, cause_lines, fixes, merged
from selftests.reports.console.findings import FINDING

FIX = "ip route replace 172.16.254.0/24 dev gretap2 src 172.16.254.3 && ip route replace 224.0.0.0/4 dev gretap2"


def test_a_cause_is_its_fact_its_evidence_its_fix_and_its_failures():
    """A finding that fits the terminal is four lines in a fixed order."""
    assert cause_lines(FINDING, 80, "caused 2 test failures (BCAST-01)") == [
        "port-not-bridged: hub gretap2 is not a port of bridge0 (no master)",
        "    broadcast from spoke1 reached hub gretap1 and was not forwarded",
        "    fix (hub): ip link set gretap2 master bridge0",
        "    caused 2 test failures (BCAST-01)",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("field", ["summary", "evidence"])
def test_a_long_cause_stays_short_and_its_fix_whole(width, field):
    """However long fact and evidence are, a cause has at most six lines, and only the fix is wider than the screen."""
    long = {**FINDING, field: "a word or two, and/one/without/spaces/or/hyphens/that/is/long " * 20, "remedy": FIX}

    lines = cause_lines(long, width, "caused 2 test failures")

    assert len(lines) <= MOST_LINES
    assert f"    fix (hub): {FIX}" in lines
    assert max(len(line) for line in lines if FIX not in line) <= width
    assert any(line.endswith(" ...") for line in lines)
    assert lines[-1] == "    caused 2 test failures"


@pytest.mark.parametrize(
    ("node", "host", "remedy", "where"),
    [
        ("spoke1", "10.0.0.25", "ip link set gretap1 up", "10.0.0.25, spoke1"),
        ("hub", "hub", "ip link set gretap1 up", "hub"),
        ("vcn", "", "bridge link set dev hub isolated off", "vcn of the emulated cloud"),
        ("vcn", "", "oci network nsg rules add --nsg-id NSG", "only in a real cloud"),
        ("r1", "", "oci network nsg rules add --nsg-id NSG", "only in a real cloud"),
        ("cloud", "", "oci network nsg rules add --nsg-id NSG", "the cloud's own tools"),
    ],
)
def test_a_fix_names_the_host_that_runs_it(node, host, remedy, where):
    """A live host has the user's name for it; the cloud is no host, and a lab's cloud is marked as emulated."""
    lines = cause_lines({**FINDING, "node": node, "host": host, "remedy": remedy}, 80)

    assert f"    fix ({where}): {remedy}" in lines


def test_evidence_is_shortened_by_whole_clauses():
    """What does not fit is omitted from a semicolon on: half of "last seen on A, never on B" would be another claim."""
    seen = "last seen on hub ens3, " * 20 + "never on spoke2 ens3"
    long = f"a device and its mode; broadcast from hub to spoke2: {seen}"

    assert cause_lines({**FINDING, "evidence": long}, 80)[1] == "    a device and its mode ..."


def test_a_cause_without_a_fix_promises_none():
    """A finding that no command corrects has no line for one."""
    assert [line for line in cause_lines({**FINDING, "remedy": ""}, 80) if "fix" in line] == []


@pytest.mark.parametrize(
    ("remedy", "lasting"),
    [
        ("sysctl -w net.ipv4.ip_default_ttl=64", "net.ipv4.ip_default_ttl = 64\n"),
        ("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.gretap1.rp_filter=2    # or bind to addresses",
         "net.ipv4.conf.all.rp_filter = 2\nnet.ipv4.conf.gretap1.rp_filter = 2\n"),
    ],
)  # fmt: skip
def test_a_kernel_parameter_of_a_live_host_is_also_fixed_for_good(remedy, lasting, tmp_path):
    """The second command, run by a shell, adds the same values to a file that a boot reads."""
    kept = tmp_path / "90-overlay.conf"
    kept.write_text("# what plan wrote\n")
    lines = cause_lines({**FINDING, "host": "hub.example", "remedy": remedy}, 80)

    (command,) = [line.partition(": ")[2] for line in lines if line.startswith("    fix for good (hub.example, hub): ")]
    subprocess.run(["sh", "-c", command.replace(SYSCTLS, str(kept))], check=True)

    assert kept.read_text() == "# what plan wrote\n" + lasting


def test_a_module_of_a_live_host_is_also_loaded_at_boot(tmp_path):
    """The second command adds the module to the file that a boot reads."""
    kept = tmp_path / "overlay.conf"
    (command,) = fixes("hub", "modprobe ip_gre    # and take that line out")[1:]
    subprocess.run(["sh", "-c", command.partition(": ")[2].replace(MODULES, str(kept))], check=True)

    assert kept.read_text() == "ip_gre\n"


@pytest.mark.parametrize(
    ("host", "remedy"), [("", "sysctl -w net.ipv4.ip_default_ttl=64"), ("hub.example", "ip link set gretap1 up")]
)
def test_nothing_else_has_a_fix_for_good(host, remedy):
    """A lab is gone after its run, and a device is made again by files of its own tool."""
    assert not [line for line in cause_lines({**FINDING, "host": host, "remedy": remedy}, 80) if "for good" in line]


PORT = {
    **FINDING,
    "code": "port-isolated",
    "interface": "gretap1",
    "summary": "hub gretap1: the port is isolated",
    "remedy": "bridge link set dev gretap1 isolated off",
    "tests": ["a"],
}
PINGS = {
    **FINDING,
    "code": "broadcast-ping-ignored",
    "interface": "",
    "summary": "hub: echo requests are not answered",
    "remedy": "sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0",
    "tests": ["a"],
}


def other(finding, old, new, **fields):
    """The same finding elsewhere: its texts with the other place in them."""
    return {
        name: value.replace(old, new) if isinstance(value, str) else value for name, value in finding.items()
    } | fields


def test_the_same_at_several_interfaces_of_a_host_is_one_cause_with_one_fix():
    """Their places are listed, their commands follow each other, and all their failures count."""
    (one,) = merged([PORT, other(PORT, "gretap1", "gretap2", tests=["a", "b"])])

    assert cause_lines(one, 80)[0] == "port-isolated: hub gretap1, gretap2: the port is isolated"
    assert one["remedy"] == f"{PORT['remedy']} && bridge link set dev gretap2 isolated off"
    assert one["tests"] == ["a", "b"]


@pytest.mark.parametrize(
    ("host", "where"), [("", "on hub and on spoke1"), ("x.example", "on x.example, hub and on x.example, spoke1")]
)
def test_what_one_command_corrects_on_several_hosts_is_one_cause(host, where):
    """Its hosts are listed, by the user's names for them where there are any, with the command once."""
    (one,) = merged([{**PINGS, "host": host}, other({**PINGS, "host": host}, "hub", "spoke1")])

    lines = cause_lines(one, 80)
    assert lines[0] == "broadcast-ping-ignored: hub, spoke1: echo requests are not answered"
    assert f"    fix ({where}): {PINGS['remedy']}" in lines


@pytest.mark.parametrize(
    ("summary", "shown"),
    [
        ("hub's firewall drops IGMP", "hub ens3, spoke1 ens3: the firewall drops IGMP"),
        ("hub ens3 is not a port of bridge0", "hub ens3, spoke1 ens3: each is not a port of bridge0"),
    ],
)
def test_the_same_on_several_hosts_is_one_cause_however_its_text_begins(summary, shown):
    """A text may begin with the host's name alone, or with the place and no colon; each rule may be another one."""
    firewall = {**PINGS, "interface": "ens3", "summary": summary, "rule": "-j DROP"}

    (one,) = merged([firewall, other(firewall, "hub", "spoke1", rule="-p igmp -j DROP")])

    assert cause_lines(one, 80)[0] == f"{PINGS['code']}: {shown}"
    assert one["remedy"] == PINGS["remedy"]


CLOUD = {
    "code": "vxlan-blocked",
    "node": "vcn",
    "interface": "hub",
    "summary": "the cloud's network drops UDP 4789 (VXLAN): hub to spoke1 and spoke2",
    "evidence": "UDP between the same addresses arrives",
    "remedy": "oci network nsg rules add    # of another cloud: --provider=",
    "tests": ["a"],
}


def test_what_one_command_corrects_at_several_places_of_a_node_is_one_cause():
    """Where the texts differ in a part, it is a list; the one command may have a comment behind it."""
    two = [
        {**CLOUD, "interface": name, "summary": CLOUD["summary"].replace("hub to spoke1 and spoke2", f"{name} to hub")}
        for name in ("spoke1", "spoke2")
    ]

    (one,) = merged([CLOUD, *two])

    listed = "hub to spoke1 and spoke2, spoke1 to hub, spoke2 to hub"
    assert one["summary"] == f"the cloud's network drops UDP 4789 (VXLAN): {listed}"
    assert one["remedy"] == CLOUD["remedy"]


def test_two_rules_of_one_firewall_stay_apart():
    """Where several rules of a host have the same effect, none of their commands is left out."""
    rules = [
        {**PORT, "summary": "hub's firewall drops IGMP", "rule": rule, "remedy": f"iptables -D {rule}"}
        for rule in ("INPUT -p igmp -j DROP", "INPUT -j DROP")
    ]

    assert merged(rules) == rules


@pytest.mark.parametrize(
    "second",
    [
        other(PORT, "gretap1", "gretap2", remedy=""),
        other(PORT, "gretap1", "gretap2", remedy="bridge link set dev gretap2 isolated off    # or remove it"),
        other(PORT, "gretap1", "gretap2", code="port-blocked"),
        other(PORT, "hub", "hub2", remedy="bridge link set dev gretap2 isolated off"),
        other(other(PORT, "the port is", "the port was"), "gretap1", "gretap2"),
    ],
    ids=["no command", "a comment", "another code", "another command elsewhere", "another fact"],
)
def test_others_stay_apart(second):
    """Findings with another code, fact or command elsewhere, or with none that another can follow, are not merged."""
    assert merged([PORT, second]) == [PORT, second]
