"""
Faults of a host's own set-up: its routing tables, its neighbours, the names and masters of its devices.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.fault import Fault, Named
from lab.faults.means import GUEST, of_hub, of_spoke
from lab.faults.places import device, hub_bridge, hub_port, victim, victim_device, victim_itself, victim_nic

VRF = "ip link add red type vrf table 10 && ip link set red up"

FAULTS = (
    # tables of routes
    Fault(
        "broadcast-not-local",
        "the kernel of one spoke lost the route by which it takes broadcast in",
        ("BCAST-01", "BCAST-02", "BCAST-07"),
        of_spoke("ip route del broadcast {broadcast} dev {device} table local"),
        GUEST,
        greens=("MCAST-01",),
        finding=Named("local-route-missing", victim_device),
    ),
    Fault(
        "address-not-local",
        "the kernel of one spoke lost the route by which it takes in what is for its overlay address",
        ("BCAST-08", "ICMP-01"),
        of_spoke("ip route del local {own} dev {device} table local"),
        GUEST,
        finding=Named("local-route-missing", victim_device),
    ),
    Fault(
        "endpoint-not-local",
        "the kernel of one spoke lost the route by which it takes in what is for its NIC's address",
        ("BCAST-01", "PRE-03"),
        of_spoke("ip route del local {underlay} dev {nic} table local"),
        GUEST,
        finding=Named("local-route-missing", victim_nic),
    ),
    Fault(
        "bridge-in-vrf",
        "the hub's bridge was put into a VRF",
        ("BCAST-02", "MCAST-01"),
        of_hub(f"{VRF} && ip link set {{device}} master red"),
        GUEST,
        finding=Named("device-in-vrf", hub_bridge),
    ),
    Fault(
        "nic-in-vrf",
        "one spoke's NIC was put into a VRF",
        ("BCAST-01",),
        of_spoke(f"{VRF} && ip link set {{nic}} master red"),
        GUEST,
        finding=Named("device-in-vrf", victim_nic),
    ),
    Fault(
        "main-table-unused",
        "the rule that leads to one spoke's main table was deleted",
        ("BCAST-01", "MCAST-01"),
        of_spoke("ip rule del priority 32766"),
        GUEST,
        finding=Named("main-table-unused", victim_itself),
    ),
    Fault(
        "local-table-unused",
        "the rule that leads to one spoke's table `local` was deleted",
        ("BCAST-01", "MCAST-01"),
        of_spoke("ip rule del priority 0"),
        finding=Named("local-table-unused", victim_itself),
    ),
    Fault(
        "group-routed-away",
        "one spoke routes one part of the multicast range to its NIC",
        ("MCAST-08",),
        of_spoke("ip route add 239.255.0.0/16 dev {nic}"),
        finding=Named("multicast-route-elsewhere", victim_nic),
        greens=("MCAST-01",),
    ),
    Fault(
        "multicast-by-gateway",
        "one spoke's multicast route names the hub as its gateway: groups become unicast to it",
        ("MCAST-01",),
        of_spoke("ip route replace 224.0.0.0/4 via {hub} dev {device}"),
        finding=Named("multicast-route-elsewhere", victim_device),
        greens=("BCAST-01",),
    ),
    Fault(
        "address-of-host-scope",
        "one spoke's overlay address has the scope `host`: multicast is sent from its NIC's address",
        ("MCAST-01",),
        of_spoke(
            "ip addr del {own}/24 dev {device} && ip addr add {own}/24 dev {device} scope host "
            "&& ip route replace 224.0.0.0/4 dev {device}"
        ),
        finding=Named("overlay-address-scope", victim_device),
    ),
    Fault(
        "policy-blackhole",
        "a rule of one spoke sends multicast nowhere before the main table is asked",
        ("MCAST-01",),
        of_spoke("ip rule add priority 0 to 224.0.0.0/4 blackhole"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("policy-rule", victim_itself),
    ),
    Fault(
        "groups-thrown",
        "one spoke's routes of 239/8 lead nowhere, and a part of it to the gateway",
        ("MCAST-08",),
        of_spoke("ip route add throw 239.0.0.0/8", "ip route add 239.192.0.0/10 dev {nic}"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("multicast-route-elsewhere", victim_nic),
    ),
    Fault(
        "neighbours-by-gateway",
        "one spoke lost the route to its own subnet, and sends to its neighbours through the gateway",
        ("BCAST-01", "PRE-03"),
        of_spoke("ip route del {network} dev {nic}"),
        GUEST,
        finding=Named("underlay-detour", victim_nic),
    ),
    Fault(
        "neighbours-by-other-nic",
        "one spoke's route to its own subnet leads out of a second NIC",
        ("BCAST-01", "PRE-03"),
        of_spoke(
            "ip link add ens4 type veth peer name ens4p && ip link set ens4p up && ip link set ens4 up",
            "ip route replace {network} dev ens4",
        ),
        finding=Named("underlay-detour", device(victim, "ens4")),
    ),
    Fault(
        "rule-refuses",
        "one spoke's policy rule refuses what its tunnel sends",
        ("ICMP-01",),
        of_spoke("ip route add blackhole default table 7 && ip rule add from {underlay} lookup 7"),
        finding=Named("policy-rule", victim_itself),
    ),
    Fault(
        "network-overlaps",
        "one spoke has a network for containers that the overlay's is a part of",
        ("PRE-09",),
        of_spoke("ip link add docker0 type bridge && ip link set docker0 up && ip addr add 172.16.0.1/16 dev docker0"),
        greens=("BCAST-01", "MCAST-01"),
        finding=Named("network-overlaps", device(victim, "docker0")),
    ),
    # devices
    Fault(
        "nic-noarp",
        "one spoke's NIC does not use ARP",
        ("BCAST-01",),
        of_spoke("ip link set {nic} arp off"),
        GUEST,
        finding=Named("device-noarp", victim_nic),
    ),
    Fault(
        "bridge-noarp",
        "the hub's bridge does not use ARP",
        ("BCAST-08",),
        of_hub("ip link set {device} arp off"),
        GUEST,
        finding=Named("device-noarp", hub_bridge),
    ),
    Fault(
        "neighbour-fixed",
        "one spoke has a wrong MAC of the hub written down",
        ("ICMP-01",),
        of_spoke("ip neigh replace {hub} lladdr 02:00:00:00:00:99 dev {device} nud noarp"),
        GUEST,
        finding=Named("neighbour-wrong", victim_device),
    ),
    Fault(
        "tunnel-renamed",
        "the hub's end of one tunnel has another name than the plan's",
        ("PRE-01", "PRE-11"),
        of_hub("ip link set {port} down && ip link set {port} name other && ip link set other up"),
        GUEST,
        finding=Named("tunnel-renamed", hub_port),
    ),
    Fault(
        "tunnel-of-loopback",
        "one spoke's tunnel is bound to the loopback device",
        ("BCAST-01",),
        of_spoke("ip link set {device} type gretap remote {remote} local {underlay} ttl 64 dev lo"),
        GUEST,
        finding=Named("tunnel-device-mismatch", victim_device),
    ),
    Fault(
        "other-bridge",
        "one tunnel of the hub is a port of another bridge",
        ("HUB-02", "BCAST-01"),
        of_hub("ip link add other type bridge && ip link set other up && ip link set {port} master other"),
        GUEST,
        finding=Named("port-not-bridged", hub_port),
    ),
    Fault(
        "vlan-of-one-port",
        "the hub filters VLANs, and one port has another one",
        ("HUB-02", "BCAST-01"),
        of_hub(
            "ip link set {device} type bridge vlan_filtering 1",
            "bridge vlan add dev {port} vid 10 pvid untagged && bridge vlan del dev {port} vid 1",
        ),
        GUEST,
        finding=Named("vlan-filtering", hub_bridge),
    ),
    Fault(
        "addresses-forgotten",
        "the hub forgets every MAC at once",
        ("HUB-03",),
        of_hub("ip link set {device} type bridge ageing_time 0"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("addresses-forgotten", hub_bridge),
    ),
    Fault(
        "vxlan-flooded-twice",
        "one spoke's VXLAN device has a second entry for what it floods",
        ("BCAST-01",),
        of_spoke("bridge fdb append 00:00:00:00:00:00 dev {device} dst {remote}"),
        ("vxlan",),
        finding=Named("vxlan-entry-elsewhere", victim_device),
    ),
    Fault(
        "vxlan-floods-nowhere",
        "one spoke's VXLAN device lost the entry for what it floods",
        ("BCAST-01", "MCAST-01"),
        of_spoke("bridge fdb del 00:00:00:00:00:00 dev {device}"),
        ("vxlan",),
        finding=Named("vxlan-flood-missing", victim_device),
    ),
    Fault(
        "vxlan-proxy",
        "one spoke's VXLAN device answers ARP itself and sends no request",
        ("BCAST-08",),
        of_spoke(
            "ip link del {device} && ip link add {device} type vxlan id 2 remote {remote} local {underlay} "
            "dstport 4789 dev {nic} ttl 64 proxy && ip link set {device} up",
            "ip addr add {own}/24 dev {device} && ip route add 224.0.0.0/4 dev {device}",
        ),
        ("vxlan",),
        finding=Named("vxlan-proxy", victim_device),
    ),
)
