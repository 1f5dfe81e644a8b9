"""What breaks a lab at tables, filters and IPv6, and the codes of all findings (`test_exact_findings`)."""

from __future__ import annotations

from selftests.faults.breaking import Case

FURTHER: dict[str, tuple[Case, set[str]]] = {
    "an entry of a spoke's MAC for the bridge itself": (
        Case("hub", {"hub": "bridge fdb replace {mac} dev bridge0 self local"}),
        {"fdb-static-wrong"},
    ),
    "broadcast of the overlay routed to the NIC": (
        Case(
            "spoke2",
            {
                "spoke2": "ip route del broadcast 172.16.254.255 dev {device} table local && "
                "ip route add broadcast 172.16.254.255 dev ens3 table local"
            },
        ),
        {"local-route-missing"},
    ),
    "copies of what arrives, sent to the hub": (
        Case(
            "spoke2",
            {
                "spoke2": "iptables -t mangle -A PREROUTING -i {device} -p udp -d 172.16.254.255 "
                "-j TEE --gateway 172.16.254.1"
            },
        ),
        {"packets-copied"},
    ),
    "a filter that drops at random": (
        Case(
            "spoke2",
            {
                "spoke2": "tc qdisc add dev {device} clsact && "
                "tc filter add dev {device} ingress matchall action ok random netrand drop 3"
            },
            "gretap",
        ),
        {"traffic-filtered"},
    ),
    "wrong MAC of the hub's NIC written down for IPv6": (
        Case(
            "spoke2",
            {"spoke2": "ip -6 neigh replace fd00:10::197 lladdr 02:00:00:00:00:99 dev ens3 nud permanent"},
            "ip6gretap",
        ),
        {"neighbour-wrong"},
    ),
    "no route over IPv6 to the hub": (
        Case("spoke2", {"spoke2": "ip -6 route add unreachable fd00:10::197/128"}, "ip6gretap"),
        {"underlay-route-missing"},
    ),
    "a bridge's filter behind a filter of tunnel packets": (
        Case(
            "hub",
            {
                "hub": "iptables -A INPUT -s 10.0.0.25 -p udp --dport 4789 -j DROP && "
                "ebtables -A FORWARD -o {port} -j DROP"
            },
        ),
        {"tunnel-packets-dropped", "drops-behind"},
    ),
    "a port that answers ARP, to which the bridge then floods nothing": (
        Case("hub", {"hub": "ip link set {port} type bridge_slave proxy_arp on"}),
        {"arp-suppressed"},
    ),
    "neighbour solicitations dropped": (
        Case("spoke2", {"spoke2": "ip6tables -A INPUT -p icmpv6 --icmpv6-type 135 -j DROP"}, ipv6=True),
        {"icmpv6-filtered"},
    ),
    "IPv6 to groups dropped where it leaves": (
        Case("spoke2", {"spoke2": "ip6tables -A OUTPUT -d ff00::/8 -j DROP"}, ipv6=True),
        {"icmpv6-filtered"},
    ),
    "no memory for fragments": (
        Case("hub", {"hub": "sysctl -w net.ipv4.ipfrag_low_thresh=0 net.ipv4.ipfrag_high_thresh=0"}),
        {"reassembly-limited"},
    ),
    "no time for fragments": (Case("spoke2", {"spoke2": "sysctl -w net.ipv4.ipfrag_time=0"}), {"reassembly-limited"}),
}
