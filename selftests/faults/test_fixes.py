"""
Every fix that is printed is tried where it is printed: by the matrix of faults, by the tables here, or it is listed.

    lab, one host broken by a command  -->  explain  -->  the finding, at its host
                fix of each finding, run on its host -->  explain finds nothing any more
"""

from __future__ import annotations

from collections.abc import Iterator

import execnet
import pytest

from lab import laboratory, topologies
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.errors import EnvironmentProblem
from lab.faults import catalogue
from lab.machines import choose
from lab.machines.base import Machine
from lab.model import Finding, TunnelOptions, Underlay
from lab.providers import provider
from selftests.lab.test_readback import UNFINISHED
from selftests.test_documents import FINDERS, codes_in

# a bridge learns of its port's carrier from the kernel's link watch, up to a second later
UNTIL = "timeout 5 sh -c 'until bridge link show dev {port} | grep -q state.STATE; do :; done'"
# code: the host, what breaks it; `{port}` is the hub's to spoke2, `{device}` spoke2's, `{mac}` spoke1's
BROKEN = {
    "arp-suppressed": ("hub", "bridge link set dev {port} neigh_suppress on"),
    "bridge-down": ("hub", "ip link set bridge0 down"),
    "device-not-multicast": ("spoke2", "ip link set {device} multicast off"),
    "fdb-static-wrong": ("hub", "bridge fdb replace {mac} dev {port} master static sticky"),
    "multicast-as-unicast": ("hub", "bridge link set dev {port} mcast_to_unicast on"),
    "nic-down": ("spoke2", "ip link set ens3 down"),
    "nic-mac-changed": ("spoke2", "ip link set ens3 address 02:00:0a:00:00:fe"),
    "overlay-address-missing": ("spoke2", "ip addr del 172.16.254.3/24 dev {device}"),
    "overlay-route-elsewhere": ("spoke2", "ip route add 172.16.254.2/32 dev ens3"),
    "ping-ignored": ("spoke2", "sysctl -w net.ipv4.icmp_echo_ignore_all=1"),
    "policy-rule": (
        "spoke2",
        "ip route add default via 10.0.0.1 dev ens3 table 7 && ip rule add from 10.0.0.131 table 7",
    ),
    "port-blocked": ("hub", "ip link set {port} protodown on && " + UNTIL.replace("STATE", "disabled")),
    "port-locked": ("hub", "bridge link set dev {port} locked on"),
    "proxy-arp": ("spoke2", "sysctl -w net.ipv4.conf.{device}.proxy_arp=1"),
    "querier-unplanned": ("hub", "ip link set bridge0 type bridge mcast_querier 1"),
    "spoke-tunnel-bridged": ("spoke2", "ip link add br9 type bridge && ip link set {device} master br9"),
    "stp-on": ("hub", "ip link set bridge0 type bridge stp_state 1"),
    "stray-port": ("hub", "ip link add d0 type veth peer name d1 && ip link set d0 up master bridge0"),
    "tunnel-port-mismatch": ("spoke2", "{remade} dstport 4790"),
    "tunnel-tos-mismatch": ("spoke2", "{remade} tos 0x10"),
    "tunnel-ttl-mismatch": ("spoke2", "{remade} ttl 9"),
    "tunnel-vni-mismatch": ("spoke2", "{remade} id 99"),
    "underlay-address-missing": ("spoke2", "ip addr del 10.0.0.131/24 dev ens3"),
    "underlay-route-missing": ("spoke2", "ip route del 10.0.0.0/24 dev ens3 && ip route del default"),
    "vlan-tunnel": ("hub", "bridge link set dev {port} vlan_tunnel on"),
}
OUTPUT = {
    "everything": "iptables -A OUTPUT -j DROP",
    "to the overlay": "iptables -A OUTPUT -d 172.16.254.0/24 -j DROP",
    "datagrams": "iptables -A OUTPUT -p udp -j DROP",
    "legacy": "iptables-legacy -A OUTPUT -d 172.16.254.0/24 -j DROP",
    "netdev": (
        "nft add table netdev guard && "
        "nft 'add chain netdev guard come {{ type filter hook ingress device {device} priority 0; }}' && "
        "nft add rule netdev guard come ip daddr 172.16.254.255 counter drop"
    ),
}
NO_COMMAND = {
    "the place of a loss that no rule explains": ("lost-at-", "partly-lost-at-", "duplicated", "reordered"),
    "what was seen, without a cause": (
        "ipv6-unanswered",
        "neighbour-unresolved",
        "ping-unanswered",
        "sending-refused",
        "stream-refused",
    ),
    "the cloud's: its console, or another cloud": (
        "gre-blocked",
        "path-mtu-black-hole",
        "source-check-off",
        "underlay-floods",
        "underlay-hops",
        "underlay-unreachable",
        "vxlan-blocked",
    ),
    "a program's, which its owner stops or changes": ("member-besides", "querier-elsewhere", "receive-buffer-overflow"),
}
"""Findings without a command that can be run on a host, and why."""
UNTRIED = {
    "needs another lab than the tables'": (
        "fabric-asks-nobody",
        "fabric-isolates",
        "ipv6-ping-ignored",
        "mtu-below-1280",
        "reverse-path-filter",
        "tunnel-checksum-not-as-planned",
        "tunnel-pmtudisc-mismatch",
        "tunnel-port-not-as-planned",
        "tunnel-sequence-not-as-planned",
        "tunnel-ttl-inherit",
        "tunnel-ttl-too-low",
        "tunnel-vni-not-as-planned",
    ),
}
"""Findings whose fix is of a kind that is tried for another one."""
REMADE = "ip link del {device} && ip link add {device} type vxlan"
PLACED = (
    " && ip link set {device} up && ip addr add 172.16.254.3/24 dev {device} && ip route add 224.0.0.0/4 dev {device}"
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    try:
        starting = choose.start(choose.choose("auto", "vxlan"), execnet.Group())
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    yield starting.machine()
    starting.close()


@pytest.fixture
def lab(machine: Machine) -> Iterator[laboratory.Lab]:
    """A lab for each test: what a fix does not restore must not be found by the next one."""
    with laboratory.build(
        machine, topologies.standard(2, TunnelOptions(kind="vxlan")), Underlay(provider("oci"))
    ) as made:
        yield made


def found(lab: laboratory.Lab) -> tuple[Finding, ...]:
    lab.ask_anew()
    return explain(scene.gather(lab, planned=True))


def run(lab: laboratory.Lab, host: str, command: str) -> None:
    done = lab.nodes[host].run("sh", "-ec", command)
    if "not found" in done["errors"] or ("unknown" in done["errors"].lower() and "protodown" in command):
        pytest.skip(f"{command}: {done['errors'].strip()}")
    assert done["status"] == 0, f"{host}: {command}: {done['errors']}"


def broken(lab: laboratory.Lab, command: str) -> str:
    """The command with the names of the lab's devices; a tunnel remade with one other parameter."""
    tunnel = lab.topology.tunnel_of("spoke2")
    names = {"port": tunnel.hub_device, "device": tunnel.spoke_device}
    if command.startswith("{remade}"):
        usual = {
            "id": "2",
            "remote": "10.0.0.197",
            "local": "10.0.0.131",
            "dstport": "4789",
            "dev": "ens3",
            "ttl": "64",
        }
        word, value = command.split()[1:]
        said = " ".join(f"{name} {given}" for name, given in {**usual, word: value}.items())
        command = f"{REMADE} {said}{PLACED}"
    return command.format(**names, mac=lab["spoke1"].node.link(lab.plans["spoke1"].device)["IFLA_ADDRESS"])


@pytest.mark.parametrize("code", BROKEN)
def test_the_printed_fix_corrects_it(lab: laboratory.Lab, code: str) -> None:
    """The finding is at its host, and when its fix and those beside it were run there, nothing is found any more."""
    host, command = BROKEN[code]
    run(lab, host, broken(lab, command))

    before = found(lab)
    assert (code, host) in {(finding.code, finding.node) for finding in before}, before
    for finding in before:
        run(lab, finding.node, finding.remedy)
    if code == "port-blocked":
        run(lab, host, broken(lab, UNTIL.replace("STATE", "forwarding")))

    assert found(lab) == ()


@pytest.mark.parametrize("rule", OUTPUT)
def test_a_firewalls_rule_is_excepted_by_its_own_tool(lab: laboratory.Lab, rule: str) -> None:
    """What a rule drops passes again when the printed exceptions were made; none is left out."""
    run(lab, "spoke2", broken(lab, OUTPUT[rule]))

    before = found(lab)
    assert {finding.node for finding in before} == {"spoke2"}, before
    for finding in before:
        run(lab, finding.node, finding.remedy)

    assert found(lab) == ()


def test_every_fix_is_tried_or_listed() -> None:
    """Each finding is fixed by the matrix of faults, by a table, or stands in a list with the reason."""
    every = set().union(*(codes_in(path) for path in FINDERS))
    tried = {fault.finding.code for fault in catalogue.known().values() if fault.finding and fault.mended}
    tried |= {*BROKEN, *(code for _, _, code in UNFINISHED.values())}
    listed = tuple(code for codes in (*NO_COMMAND.values(), *UNTRIED.values()) for code in codes)

    assert sorted(code for code in every - tried if not code.startswith(listed)) == []
    assert sorted(code for code in listed if code in tried) == []
