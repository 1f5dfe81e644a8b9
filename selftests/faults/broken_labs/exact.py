"""What breaks a lab at tables, filters and IPv6, and the codes of all findings (`test_exact_findings`)."""

from __future__ import annotations

from selftests.faults.broken_labs.breaking import Case

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
    "a TTL of 0, with which no multicast is sent": (
        Case("spoke2", {"spoke2": "iptables -t mangle -A OUTPUT -o {device} -d 224.0.0.0/4 -j TTL --ttl-set 0"}),
        {"firewall-drops"},
    ),
    "a detached port of a hub whose firewall accepts the bridge": (
        Case(
            "hub",
            {
                "hub": "iptables -A INPUT -i lo -j ACCEPT && iptables -A INPUT -p icmp -j ACCEPT && "
                "iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && "
                "iptables -A INPUT -i ens3 -j ACCEPT && "
                "iptables -A INPUT -i bridge0 -j ACCEPT && iptables -A INPUT -j REJECT && ip link set vxlan2 nomaster"
            },
        ),
        {"port-not-bridged"},
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
    "a network that overlaps the overlay's": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link add br7 type bridge && ip link set br7 up && ip addr add 192.168.7.1/24 dev br7 && "
                "ip addr add 172.16.254.5/29 dev br7"
            },
        ),
        {"network-overlaps"},
    ),
    "such a network, and a route to another part of the overlay": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link add br7 type bridge && ip link set br7 up && "
                "ip addr add 172.16.254.9/29 dev br7 && ip route add 172.16.254.0/29 dev br7"
            },
        ),
        {"network-overlaps"},
    ),
    "another spoke's address, on a device of its own": (
        Case(
            "spoke2",
            {"spoke2": "ip link add br7 type bridge && ip link set br7 up && ip addr add 172.16.254.2/29 dev br7"},
        ),
        {"duplicate-address"},
    ),
    "another device with the overlay address, and the only route": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link add br7 type bridge && ip link set br7 up && "
                "ip addr add 172.16.254.3/24 dev br7 && ip route del 172.16.254.0/24 dev {device}"
            },
        ),
        {"overlay-address-twice", "overlay-route-elsewhere"},
    ),
    "a tunnel in a bond, which gives it its own MTU": (
        Case(
            "spoke2",
            {
                "spoke2": "ip link add bond9 type bond mode active-backup && ip link set {device} down && "
                "ip link set {device} master bond9 && ip link set bond9 up"
            },
            "gretap",
        ),
        {"device-enslaved"},
    ),
    "a queue that alters packets": (
        Case("spoke2", {"spoke2": "tc qdisc add dev ens3 root netem corrupt 60%"}, "gretap"),
        {"traffic-changed"},
    ),
    "no room for packets whose receiver is not resolved yet": (
        Case("spoke2", {"spoke2": "sysctl -w net.ipv4.neigh.{device}.unres_qlen_bytes=0"}),
        {"neighbour-queue-short"},
    ),
    "a tunnel without Ethernet": (
        Case("spoke2", {"spoke2": "{remade} innerprotoinherit"}, "geneve"),
        {"tunnel-without-ethernet"},
    ),
    "a port without Ethernet, which no bridge takes": (
        Case("hub", {"hub": "{bare} innerprotoinherit"}, "geneve"),
        {"tunnel-without-ethernet"},
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
    "a port of a spoke's own bridge that is disabled": (
        Case("spoke2", {"spoke2": "bridge link set dev {port} state 0"}, topology="bridged"),
        {"port-blocked"},
    ),
    "a locked port of a spoke's own bridge": (
        Case("spoke2", {"spoke2": "bridge link set dev {port} locked on"}, topology="bridged"),
        {"port-locked"},
    ),
    "a spoke's own bridge that is down": (
        Case("spoke2", {"spoke2": "ip link set bridge0 down"}, topology="bridged"),
        {"bridge-down"},
    ),
    "a tunnel that is not a port of a spoke's own bridge": (
        Case("spoke2", {"spoke2": "ip link set {port} nomaster"}, topology="bridged"),
        {"port-not-bridged"},
    ),
    "the hub's MAC as one of a spoke's own bridge": (
        Case("spoke2", {"spoke2": "bridge fdb replace 02:00:ac:10:fe:01 dev bridge0 self local"}, topology="bridged"),
        {"fdb-static-wrong"},
    ),
    "a bond that is down": (
        Case("spoke2", {"spoke2": "ip link set bond1 down"}, "gretap", topology="two-hubs-bond"),
        {"tunnel-down"},
    ),
    "a PRP device that is down": (
        Case("spoke2", {"spoke2": "ip link set prp0 down"}, "gretap", topology="two-hubs-prp"),
        {"tunnel-down"},
    ),
}
