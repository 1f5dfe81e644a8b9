"""
Every fix that is printed is tried where it is printed: by the matrix of faults, by the tables here, or it is listed.

    lab, one host broken by a command  -->  explain  -->  the finding, at its host
                fix of each finding, run on its host -->  explain finds nothing any more
"""

from __future__ import annotations

import pytest

from lab import laboratory
from lab.faults import catalogue
from selftests.faults.broken_labs import test_designs, test_neighbour_table, test_two_hubs
from selftests.faults.broken_labs.breaking import Case, broken, corrected, found, run
from selftests.faults.broken_labs.test_exact_findings import EXACT
from selftests.lab.overlay.test_readback import UNFINISHED
from selftests.test_documents import every_code

# a bridge learns of its port's carrier from the kernel's link watch, up to a second later
UNTIL = "timeout 5 sh -c 'until bridge link show dev {port} | grep -q state.STATE; do :; done'"
# code: the host, what breaks it; `{port}` is the hub's to spoke2, `{device}` spoke2's, `{mac}` spoke1's
BROKEN = {
    "arp-suppressed": ("hub", "bridge link set dev {port} neigh_suppress on"),
    "bridge-down": ("hub", "ip link set bridge0 down"),
    "device-protodown": ("spoke2", "ip link set {device} protodown on"),
    "device-not-multicast": ("spoke2", "ip link set {device} multicast off"),
    "fdb-static-wrong": ("hub", "bridge fdb replace {mac} dev {port} master static sticky"),
    "multicast-as-unicast": ("hub", "bridge link set dev {port} mcast_to_unicast on"),
    "nic-down": ("spoke2", "ip link set ens3 down"),
    "nic-missing": (
        "spoke2",
        "ip link set ens3 down && ip link set ens3 name eth9 && ip link set eth9 up && ip route add default dev eth9",
    ),
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
    "tunnel-elsewhere": ("spoke2", "ip netns add of-spoke2 && ip link set {device} netns of-spoke2"),
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
CLOUD = "vcn"


ELSEWHERE = {
    "fabric-arp-unanswered": Case(CLOUD, {CLOUD: "ip link set spoke2 type bridge_slave proxy_arp off"}),
    "fabric-port-isolated": Case(CLOUD, {CLOUD: "bridge link set dev spoke2 isolated on"}),
    "ipv6-link-local-missing": Case(
        "spoke2",
        {"spoke2": "ip -6 addr flush dev {device} scope link && ip -6 route del ff00::/8 dev {device} table local"},
        ipv6=True,
    ),
    "ipv6-ping-ignored": Case("spoke2", {"spoke2": "sysctl -w net.ipv6.icmp.echo_ignore_all=1"}, ipv6=True),
    "mtu-below-1280": Case(
        "spoke2",
        {
            "hub": "for d in {port} {other} bridge0; do ip link set $d mtu 1279; done",
            "spoke1": "ip link set {other} mtu 1279",
            "spoke2": "ip link set {device} mtu 1279",
        },
        ipv6=True,
    ),
    "reverse-path-filter": Case(
        "spoke2",
        {
            "spoke2": "sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.{device}.rp_filter=1 && "
            "ip route add 172.16.254.0/25 dev lo"
        },
    ),
    "tunnel-elsewhere": Case("hub", {"hub": "ip netns add of-hub && ip link set {port} netns of-hub"}, "gretap"),
    "tunnel-checksum-not-as-planned": Case("spoke2", {"hub": "{remade} csum", "spoke2": "{remade} csum"}, "gretap"),
    "tunnel-df-not-as-planned": Case("spoke2", {"hub": "{remade} df set", "spoke2": "{remade} df set"}),
    "tunnel-pmtudisc-mismatch": Case("spoke2", {"spoke2": "{remade} nopmtudisc"}, "gretap"),
    "tunnel-port-not-as-planned": Case("spoke2", {"hub": "{remade} dstport 4790", "spoke2": "{remade} dstport 4790"}),
    "tunnel-sequence-not-as-planned": Case("spoke2", {"hub": "{remade} seq", "spoke2": "{remade} seq"}, "gretap"),
    "tunnel-ttl-inherit": Case("spoke2", {"spoke2": "{remade} ttl inherit"}, routers=2),
    "tunnel-ttl-too-low": Case("spoke2", {"spoke2": "{remade} ttl 1"}, routers=2),
    "tunnel-vni-not-as-planned": Case("spoke2", {"hub": "{remade} id 99", "spoke2": "{remade} id 99"}),
}
"""Findings that the usual lab cannot have, or not of one host's making."""
CHAIN = "nft add table {family} guard && nft 'add chain {family} guard c {{{{ type filter hook {hook} priority 0; }}}}'"


def nft(family: str, hook: str, rule: str) -> str:
    made = CHAIN.format(family=family, hook=hook)
    return f"{made} && nft add rule {family} guard c {rule}"


FIREWALLS = {
    "everything": ("spoke2", "iptables -A OUTPUT -j DROP"),
    "to the overlay": ("spoke2", "iptables -A OUTPUT -d 172.16.254.0/24 -j DROP"),
    "datagrams": ("spoke2", "iptables -A OUTPUT -p udp -j DROP"),
    "legacy": ("spoke2", "iptables-legacy -A OUTPUT -d 172.16.254.0/24 -j DROP"),
    "legacy, tunnel packets": ("spoke2", "iptables-legacy -A INPUT -p udp --dport 4789 -j DROP"),
    "arptables, another MAC": (
        "spoke2",
        "arptables -A OUTPUT -o {device} -j mangle --mangle-mac-s 02:00:00:00:00:55",
    ),
    "a transparent proxy": (
        "spoke2",
        "iptables -t mangle -A PREROUTING -i {device} -p udp -j TPROXY --on-port 9999 --on-ip 127.0.0.1",
    ),
    "arptables": ("spoke2", "arptables -A INPUT -j DROP"),
    "arptables of one device": ("spoke2", "arptables -A OUTPUT -o {device} -j DROP"),
    "ebtables": ("hub", "ebtables -A FORWARD -p IPv4 -j DROP"),
    "nft ip": ("spoke2", nft("ip", "input", "ip daddr 172.16.254.255 counter drop")),
    "nft inet": ("spoke2", nft("inet", "output", "udp dport != 53 counter drop")),
    "nft inet, tunnel packets": ("hub", nft("inet", "input", "udp dport 4789 counter drop")),
    "nft inet, not counted": ("spoke2", nft("inet", "input", "udp dport 4789 drop")),
    "nft arp": ("spoke2", nft("arp", "input", "counter drop")),
    "nft bridge": ("hub", nft("bridge", "forward", "ether daddr ff:ff:ff:ff:ff:ff counter drop")),
    "nft bridge, input": ("hub", nft("bridge", "input", "ip protocol udp counter drop")),
    "nft netdev": ("spoke2", nft("netdev", "ingress device {device}", "ip daddr 172.16.254.255 counter drop")),
    "nft netdev, egress": ("spoke2", nft("netdev", "egress device {device}", "ip protocol udp counter drop")),
    "nft netdev, tunnel packets": ("spoke2", nft("netdev", "ingress device ens3", "udp dport 4789 counter drop")),
    "nft netdev, egress of a port": ("hub", nft("netdev", "egress device {port}", "ip protocol udp counter drop")),
    "nft inet, a map of devices": (
        "spoke2",
        nft("inet", "input", '\'iifname vmap {{ "lo" : accept, "{device}" : drop }}\''),
    ),
    "nft inet, inside and outside": ("hub", nft("inet", "input", "'meta l4proto vmap {{ udp : drop, tcp : accept }}'")),
    "nft inet, refused with an answer": ("spoke2", nft("inet", "input", "counter reject with icmpx admin-prohibited")),
    "nft ip, another receiver": (
        "spoke2",
        nft("ip", "output", "ip daddr 172.16.254.255 counter ip daddr set 172.16.254.254"),
    ),
    "nft policy": (
        "spoke2",
        CHAIN.format(family="inet", hook="input").replace("0;", "0; policy drop;"),
    ),
    "nft jump": (
        "spoke2",
        nft("inet", "input", "counter")
        + " && nft add chain inet guard deep && nft add rule inet guard deep ip daddr 172.16.254.255 counter drop"
        + " && nft add rule inet guard c jump deep",
    ),
}
"""Rules of each tool and family: the host, and what adds one."""
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
        "geneve-blocked",
        "gre-blocked",
        "path-mtu-black-hole",
        "source-check-off",
        "subnet-not-in-domain",
        "underlay-floods",
        "underlay-hops",
        "underlay-unreachable",
        "vxlan-blocked",
    ),
    "another design": ("stp-between-hubs",),
    "a program's, which its owner stops or changes": (
        "member-additional",
        "querier-elsewhere",
        "receive-buffer-overflow",
    ),
}
"""Findings without a command that can be run on a host, and why."""


@pytest.mark.parametrize("code", BROKEN)
def test_the_printed_fix_corrects_it(lab: laboratory.Lab, code: str) -> None:
    """The finding is at its host, and when its fix and those beside it were run there, nothing is found any more."""
    host, command = BROKEN[code]
    run(lab, host, broken(lab, host, command))

    before = found(lab)
    assert (code, host) in {(finding.code, finding.node) for finding in before}, before
    for finding in before:
        run(lab, finding.node, finding.remedy)
    if code == "port-blocked":
        run(lab, host, broken(lab, host, UNTIL.replace("STATE", "forwarding")))

    assert found(lab) == ()


@pytest.mark.parametrize(("code", "lab"), ELSEWHERE.items(), indirect=["lab"], ids=list(ELSEWHERE))
def test_the_printed_fix_corrects_it_in_other_labs(lab: laboratory.Lab, code: str) -> None:
    """The same with routers, IPv6, GRE, on several hosts at once, and in the cloud."""
    case = ELSEWHERE[code]
    for host, command in case.commands.items():
        run(lab, host, broken(lab, host, command))

    before = found(lab)
    assert (code, case.host) in {(finding.code, finding.node) for finding in before}, before
    corrected(lab, before)


OTHERS = "ebtables -A FORWARD -p IPv4 --ip-proto tcp --ip-dport 23 -j DROP"


@pytest.mark.parametrize(
    ("rule", "left"),
    [("-A FORWARD -p IPv4 --ip-proto udp -j DROP", "policy: ACCEPT"), ("-P FORWARD DROP", "policy: ACCEPT")],
    ids=["rule", "policy"],
)
def test_what_ebtables_drops_otherwise_stays_dropped(lab: laboratory.Lab, rule: str, left: str) -> None:
    """The fix of a rule of the bridge's filter leaves its other rules in force."""
    run(lab, "hub", f"{OTHERS} && ebtables {rule}")
    before = run_for_output(lab, "ebtables -L FORWARD")

    corrected(lab, found(lab))

    after = run_for_output(lab, "ebtables -L FORWARD")
    assert [line for line in before if "tcp" in line] == [line for line in after if line.startswith("-")]
    assert any(left in line for line in after)


def run_for_output(lab: laboratory.Lab, command: str) -> list[str]:
    """The lines that a command on the hub prints."""
    return str(lab.nodes["hub"].run("sh", "-ec", command)["output"]).splitlines()


@pytest.mark.parametrize("rule", FIREWALLS)
def test_a_firewalls_rule_is_excepted_by_its_own_tool(lab: laboratory.Lab, rule: str) -> None:
    """Packets that a rule drops pass again after the printed exceptions; no exception is missing."""
    host, command = FIREWALLS[rule]
    run(lab, host, broken(lab, host, command))

    before = found(lab)
    assert {finding.node for finding in before} == {host}, before
    corrected(lab, before)


NARROW = {
    "iptables, an address": (
        "iptables -A INPUT -d 172.16.254.255 -j DROP",
        "-i {device} -d 172.16.254.255/32 -j ACCEPT",
    ),
    "iptables, a protocol": ("iptables -A INPUT -i {device} -p udp -j DROP", "-i {device} -p udp -j ACCEPT"),
    "iptables, a peer": (
        "iptables -A INPUT -s 10.0.0.197 -p udp --dport 4789 -j DROP",
        "--dport 4789 -s 10.0.0.197/32",
    ),
    "iptables, ports": ("iptables -A INPUT -p udp --dport 20000:32767 -j DROP", "-p udp --dport 20000:32767 -j ACCEPT"),
    "iptables, other ports": ("iptables -A INPUT -p udp ! --dport 53 -j DROP", "-I INPUT -i {device} -p udp -j ACCEPT"),
    "nft, an address": (
        nft("inet", "input", "ip daddr 172.16.254.255 counter drop"),
        'iifname "{device}" ip daddr 172.16.254.255/32 accept',
    ),
    "nft, ports": (
        nft("ip", "output", "udp dport 20000-32767 counter drop"),
        'oifname "{device}" meta l4proto udp th dport 20000-32767 accept',
    ),
}
"""Rules that drop a part of what leaves or enters the tunnel, and the end of the exception before each."""


@pytest.mark.parametrize("rule", NARROW)
def test_an_exception_accepts_no_more_than_the_rule_drops(lab: laboratory.Lab, rule: str) -> None:
    """The exception repeats the protocol, port and address of the rule: rules behind it stay in force for the rest."""
    command, accepted = (broken(lab, "spoke2", one) for one in NARROW[rule])
    run(lab, "spoke2", command)

    before = found(lab)

    assert before
    for finding in before:
        assert any(accepted in one for one in finding.remedy.split(" && ")), finding.remedy
    corrected(lab, before)


def test_every_fix_is_tried_or_is_no_command() -> None:
    """Each finding is fixed by the matrix of faults or by a table, or is in a list with the reason."""
    every = every_code()
    tried = {fault.finding.code for fault in catalogue.known().values() if fault.finding and fault.fixable}
    tried |= {
        test_neighbour_table.CODE,
        test_neighbour_table.CONNECTIONS,
        *BROKEN,
        *ELSEWHERE,
        *(case.code for case in test_designs.CASES),
        *(case.code for case in test_two_hubs.CASES),
        *(code for _, codes in EXACT.values() for code in codes),
        *(code for _, _, code in UNFINISHED.values()),
    }
    listed = tuple(code for codes in NO_COMMAND.values() for code in codes)

    assert sorted(code for code in every - tried if not code.startswith(listed)) == []
    assert sorted(code for code in listed if code in tried) == []
