"""
A lab that a command breaks has the findings of that command and no other; their fixes correct it.

    lab, one host broken by a command  -->  explain  -->  exactly these findings
                fix of each finding, run on its host -->  explain finds nothing any more
"""

from __future__ import annotations

import pytest

from lab import laboratory
from selftests.faults.broken_labs.breaking import Case, broken, corrected, found, run
from selftests.faults.broken_labs.exact import FURTHER

EXACT = {
    # of a tunnel without a route from its local address the kernel takes the MTU of no device
    "tunnel made with a wrong local address": (
        Case("spoke2", {"spoke2": "{remade} local 10.0.0.99"}, "gretap"),
        {"tunnel-local-mismatch"},
    ),
    # the kernel puts an address of a smaller scope before the others, and sends from the first
    "link-local address on a tunnel": (
        Case("spoke2", {"spoke2": "ip addr add 169.254.7.7/16 scope link dev {device}"}),
        {"overlay-source-foreign"},
    ),
    "full-size tunnel packets dropped where they leave": (
        Case("spoke2", {"spoke2": "iptables -A OUTPUT -o ens3 -m length --length 500:65535 -j DROP"}),
        {"tunnel-packets-dropped"},
    ),
    "full-size tunnel packets dropped where they arrive": (
        Case("spoke2", {"spoke2": "iptables -A INPUT -i ens3 -m length --length 500:65535 -j DROP"}),
        {"tunnel-packets-dropped"},
    ),
    # RFC 6040: an inner packet that is not ECN-capable does not come out of a marked one
    "tunnel packets marked as Congestion Experienced": (
        Case("spoke2", {"spoke2": "iptables -t mangle -A POSTROUTING -o ens3 -p udp -j TOS --or-tos 0x03"}),
        {"congestion-marked"},
    ),
    "another spoke's address in place of the own one": (
        Case("spoke2", {"spoke2": "ip addr flush dev {device} && ip addr add 172.16.254.2/24 dev {device}"}),
        {"overlay-address-missing", "duplicate-address"},
    ),
    "own address with a peer": (
        Case(
            "spoke2",
            {
                "spoke2": "ip addr flush dev {device} && ip addr add 172.16.254.3 peer 172.16.254.1 dev {device} && "
                "ip route add 172.16.254.0/24 dev {device} && ip route add 224.0.0.0/4 dev {device}"
            },
        ),
        {"prefix-mismatch"},
    ),
    # at a NIC it is the tunnel packets that are lost, whatever is in them
    "wrong MAC of the hub's NIC written down": (
        Case("spoke2", {"spoke2": "ip neigh replace 10.0.0.197 lladdr 02:00:00:00:00:99 dev ens3 nud permanent"}),
        {"neighbour-wrong"},
    ),
    # the kernel sends broadcast of a device without ARP to the device's own MAC
    "tunnel without ARP": (Case("spoke2", {"spoke2": "ip link set {device} arp off"}), {"device-noarp"}),
    "tunnel to another spoke": (
        Case("spoke2", {"spoke2": "ip link set {device} type vxlan remote 10.0.0.25"}),
        {"tunnel-remote-mismatch"},
    ),
    "rule of packets that a firewall marks": (
        Case(
            "spoke2",
            {
                "spoke2": "iptables -t mangle -A OUTPUT -p udp --dport 4789 -j MARK --set-mark 9 && "
                "ip route add unreachable default table 99 && ip rule add fwmark 9 lookup 99"
            },
        ),
        {"policy-rule"},
    ),
    "tagged frames of one port": (
        Case(
            "hub",
            {"hub": "ip link set bridge0 type bridge vlan_filtering 1 && bridge vlan add dev {port} vid 1 pvid"},
            "gretap",
        ),
        {"vlan-filtering"},
    ),
    "tunnel of another kind": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link del {device} && ip link add {device} type vxlan id 2 local 10.0.0.131 "
                "remote 10.0.0.197 dstport 4789 && ip link set {device} up && "
                "ip addr add 172.16.254.3/24 dev {device} && "
                "ip route add 224.0.0.0/4 dev {device}"
            },
            "gretap",
        ),
        {"tunnel-missing"},
    ),
    "rules of the tunnel and of what is in it, which is dropped first": (
        Case(
            "spoke2",
            {
                "spoke2": "iptables -A INPUT -i {device} -j DROP && "
                "iptables -t mangle -A PREROUTING -i ens3 -p gre -j DROP"
            },
            "gretap",
        ),
        {"tunnel-packets-dropped", "firewall-drops"},
    ),
    "a policy of IPsec for what is in the tunnel": (
        Case("spoke2", {"spoke2": "ip xfrm policy add dst 224.0.0.0/4 dir out action block"}, "gretap"),
        {"ipsec-drops"},
    ),
    "classes whose queues drop": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} root handle 1: htb default 10 && "
                "tc class add dev {device} parent 1: classid 1:10 htb rate 8kbit && "
                "tc qdisc add dev {device} parent 1:10 pfifo limit 1"
            },
            "gretap",
        ),
        {"traffic-impaired"},
    ),
    "a policer of what leaves": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev ens3 clsact && tc filter add dev ens3 egress matchall "
                "action police rate 8kbit burst 2k conform-exceed drop"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a rule behind the one that drops": (
        Case(
            "spoke2",
            {
                "spoke2": "iptables -A INPUT -p udp --dport 4789 -j DROP && "
                "iptables -A INPUT -i {device} -p udp -j DROP && iptables -t mangle -A INPUT -i {device} -p udp -j DROP"
            },
        ),
        {"tunnel-packets-dropped", "drops-behind"},
    ),
    "an entry of a spoke's MAC that the bridge takes for itself": (
        Case("hub", {"hub": "bridge fdb replace {mac} dev {other} master permanent"}),
        {"fdb-static-wrong"},
    ),
    "a bridge with a spoke's MAC": (
        Case("hub", {"hub": "ip link set bridge0 address {mac}"}),
        {"duplicate-mac", "bridge-mac-not-pinned"},
    ),
    "the hub's address on its loopback device": (
        Case("hub", {"hub": "ip addr del 172.16.254.1/24 dev bridge0 && ip addr add 172.16.254.1/32 dev lo"}),
        {"hub-address-missing"},
    ),
    "a rule of routing about one port": (
        Case("spoke2", {"spoke2": "ip rule add ipproto udp dport 5007 priority 5 prohibit"}),
        {"policy-rule"},
    ),
    "the main table asked before that of the host's own addresses": (
        Case(
            "spoke2",
            {
                "spoke2": "ip rule add priority 50 lookup local && ip rule del priority 0 && ip rule add priority 5 "
                "to 172.16.254.0/24 lookup main && ip route add unreachable 172.16.254.255/32"
            },
        ),
        {"policy-rule"},
    ),
    "a mark of the tunnel itself": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link set {device} type gretap remote 10.0.0.197 local 10.0.0.131 ttl 64 fwmark 9 && "
                "ip rule add fwmark 9 blackhole"
            },
            "gretap",
        ),
        {"policy-rule"},
    ),
    "a route by a next hop object": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link add ens4 type veth peer name ens4p && ip link set ens4p up && "
                "ip link set ens4 up && ip nexthop add id 2 dev ens4 && ip route add 10.0.0.197/32 nhid 2"
            },
        ),
        {"underlay-detour"},
    ),
    "a route of a class of traffic": (
        Case("spoke2", {"spoke2": "ip route add 224.0.0.0/4 tos 0x10 dev ens3"}),
        {"multicast-route-elsewhere"},
    ),
    "a filter of a class of traffic": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} clsact && "
                "tc filter add dev {device} ingress protocol ip flower ip_tos 0xb8/0xfc action drop"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a filter in a block that devices share": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} ingress_block 22 clsact && "
                "tc filter add block 22 protocol ip flower ip_proto udp action drop"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a filter of one port, in the words of u32": (
        Case(
            "hub",
            {
                "hub": "tc qdisc add dev {port} clsact && "
                "tc filter add dev {port} egress protocol ip u32 match ip dport 5007 0xffff action drop"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a filter of one group": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} clsact && "
                "tc filter add dev {device} ingress protocol ip flower dst_ip 239.77.1.2 action drop"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a filter that makes packets another host's": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} clsact && "
                "tc filter add dev {device} ingress protocol ip matchall action skbedit ptype otherhost"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a filter that labels packets": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} clsact && "
                "tc filter add dev {device} egress protocol ip matchall action mpls push protocol mpls_uc label 5"
            },
            "gretap",
        ),
        {"traffic-changed"},
    ),
    "a mirror whose copies come back": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link add mon type veth peer name monp && ip link set mon up && ip link set monp up && "
                "tc qdisc add dev {device} clsact && "
                "tc filter add dev {device} ingress matchall action mirred egress mirror dev mon"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a queue of classes without a class": (
        Case("spoke2", {"spoke2": "tc qdisc replace dev {device} root drr"}, "gretap"),
        {"traffic-impaired"},
    ),
    "a rule of the main table that passes over the overlay's device": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link set {device} group 5 && ip rule del priority 32766 && "
                "ip rule add priority 100 table main suppress_ifgroup 5"
            },
        ),
        {"main-table-unused"},
    ),
    "reserved frames that one port forwards": (
        Case("hub", {"hub": "ip link set {port} type bridge_slave group_fwd_mask 0xfff8"}),
        {"reserved-forwarded"},
    ),
    "a mistyped overlay address": (
        Case(
            "spoke2",
            {
                "spoke2": "ip addr flush dev {device} && ip addr add 172.16.245.3/24 dev {device} && "
                "ip route add 224.0.0.0/4 dev {device}"
            },
        ),
        {"overlay-address-missing"},
    ),
    "a filter in another chain": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} clsact && "
                "tc filter add dev {device} ingress matchall action goto chain 5 && "
                "tc filter add dev {device} ingress chain 5 protocol ip flower ip_proto udp action drop"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "a tag that frames get as they come in": (
        Case(
            "hub",
            {
                "hub": "tc qdisc add dev {port} clsact && "
                "tc filter add dev {port} ingress matchall action vlan push id 9"
            },
            "gretap",
        ),
        {"traffic-changed"},
    ),
    "a port of another kind": (
        Case(
            "hub",
            {
                "hub": "ip link del {port} && ip link add {port} type erspan local 10.0.0.197 remote 10.0.0.131 "
                "seq key 7 erspan_ver 1 erspan 9 ttl 64 && ip link set {port} up master bridge0"
            },
            "gretap",
        ),
        {"tunnel-missing"},
    ),
    "nft's masquerade of what is sent into the overlay": (
        Case(
            "spoke2",
            {
                "spoke2": "nft add table ip fw && "
                "nft 'add chain ip fw c {{ type nat hook postrouting priority 100; }}' && "
                "nft 'add rule ip fw c oifname {device} masquerade'"
            },
        ),
        {"nat-rewrites"},
    ),
    "a policy that refuses all but UDP, TCP and ICMP": (
        Case(
            "spoke2",
            {"spoke2": "iptables -P OUTPUT DROP; for p in udp tcp icmp; do iptables -A OUTPUT -p $p -j ACCEPT; done"},
        ),
        {"igmp-filtered", "control-dropped"},
    ),
    **FURTHER,
}
"""What breaks which lab, and the codes of all findings, at its host."""


@pytest.mark.parametrize(
    ("lab", "case", "codes"), [(case, case, codes) for case, codes in EXACT.values()], indirect=["lab"], ids=list(EXACT)
)
def test_each_cause_is_found_once(lab: laboratory.Lab, case: Case, codes: set[str]) -> None:
    """The findings are those of the cause, at its host; their fixes leave none."""
    for host, command in case.commands.items():
        run(lab, host, broken(lab, host, command))

    before = found(lab)
    assert {(finding.code, finding.node) for finding in before} == {(code, case.host) for code in codes}, before
    corrected(lab, before)


def test_a_rule_that_rewrites_tunnel_packets_is_named(lab: laboratory.Lab) -> None:
    """What the cloud drops for its source is put down to the rule; flows that are tracked outlive the fix."""
    rule = "iptables -t nat -A POSTROUTING -o ens3 -p udp --dport 4789 -j SNAT --to-source 10.0.0.99"
    run(lab, "spoke2", f"ip addr add 10.0.0.99/24 dev ens3 && {rule}")

    before = found(lab)

    assert {(finding.code, finding.node, finding.interface) for finding in before} == {
        ("nat-rewrites", "spoke2", "ens3")
    }
    for finding in before:
        run(lab, finding.node, finding.remedy)


ROUTER_PORT = "timeout 5 sh -c 'until bridge -d mdb show | grep -q router.ports.*{port}; do :; done'"


@pytest.mark.parametrize("lab", [Case("spoke2", {}, topology="bridged")], indirect=True)
def test_a_querier_of_a_spokes_own_bridge_is_switched_off(lab: laboratory.Lab) -> None:
    """The fix is the bridge's own option; what the hub has learned of the querier expires by itself."""
    run(lab, "spoke2", "ip link set bridge0 type bridge mcast_querier 1")
    run(lab, "hub", broken(lab, "hub", ROUTER_PORT))

    (finding,) = found(lab)
    run(lab, finding.node, finding.remedy)

    assert (finding.code, finding.node) == ("querier-elsewhere", "spoke2")
    assert lab["spoke2"].node.link("bridge0").details["mcast_querier"] == 0
