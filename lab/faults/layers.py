"""
Faults of what stands on a tunnel or a NIC, of what they were put under, and of addresses and routes that look right.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.fault import Fault, Named
from lab.faults.means import GUEST, of_hub, of_spoke
from lab.faults.places import device, hub, victim, victim_device, victim_itself, victim_nic

AGAIN = "ip addr replace {own}/24 dev {device} && ip route replace 224.0.0.0/4 dev {device}"

FAULTS = (
    # devices on top, and on the other side
    Fault(
        "macvlan-on-tunnel",
        "a macvlan stands on one spoke's tunnel, and takes broadcast a second time",
        ("BCAST-01", "BCAST-06"),
        of_spoke("ip link add copy link {device} type macvlan mode bridge && ip link set copy up"),
        GUEST,
        greens=("MCAST-01",),
        finding=Named("device-on-top", device(victim, "copy")),
    ),
    Fault(
        "macvlan-takes-nic",
        "a macvlan of mode passthru takes all that comes in at one spoke's NIC",
        ("BCAST-01", "PRE-03"),
        of_spoke("ip link add passer link {nic} type macvlan mode passthru && ip link set passer up"),
        GUEST,
        finding=Named("device-on-top", device(victim, "passer")),
    ),
    Fault(
        "nic-bridged",
        "one spoke's NIC was made a port of a bridge, and its address left where it was",
        ("BCAST-01", "PRE-03"),
        of_spoke("ip link add br-lan type bridge && ip link set br-lan up && ip link set {nic} master br-lan"),
        GUEST,
        finding=Named("device-enslaved", victim_nic),
    ),
    # what a host does by itself
    Fault(
        "loopback-down",
        "one spoke's loopback device is down",
        ("ICMP-01",),
        of_spoke("ip link set lo down"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("loopback-down", device(victim, "lo")),
    ),
    Fault(
        "asks-nobody",
        "one spoke sends no ARP requests on the overlay",
        ("BCAST-08",),
        of_spoke("sysctl -w net.ipv4.neigh.{device}.mcast_solicit=0"),
        GUEST,
        finding=Named("arp-unasked", victim_device),
    ),
    Fault(
        "own-ttl-spent",
        "what one spoke sends of itself has a TTL of 1",
        ("TTL-05",),
        of_spoke("sysctl -w net.ipv4.ip_default_ttl=1"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("default-ttl-low", victim_itself),
    ),
    # addresses
    Fault(
        "other-address-first",
        "one spoke has another address of the overlay's subnet before its own, and sends from that",
        ("BCAST-01", "ICMP-01"),
        of_spoke(
            "ip addr del {own}/24 dev {device} && ip addr add 172.16.254.99/24 dev {device}",
            "ip addr add {own}/24 dev {device} && ip route replace 224.0.0.0/4 dev {device}",
        ),
        GUEST,
        finding=Named("overlay-source-foreign", victim_device),
    ),
    Fault(
        "address-twice",
        "the hub's overlay address is on its loopback device too, and programs join groups there",
        ("MCAST-01",),
        of_hub("ip addr add {own}/32 dev lo"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("overlay-address-twice", device(hub, "lo")),
    ),
    Fault(
        "broadcast-address-wrong",
        "one spoke's overlay address has a broadcast address of another subnet",
        ("PRE-09",),
        of_spoke(f"ip addr del {{own}}/24 dev {{device}} && {AGAIN.replace('dev', 'broadcast 172.16.255.255 dev', 1)}"),
        GUEST,
        greens=("MCAST-01",),
        finding=Named("broadcast-address-wrong", victim_device),
    ),
    # routes
    Fault(
        "groups-kept",
        "one spoke's table `local` keeps every group to the spoke itself",
        ("MCAST-01",),
        of_spoke("ip route add local 224.0.0.0/4 dev lo table local"),
        GUEST,
        greens=("BCAST-01",),
        finding=Named("local-route-foreign", victim_device),
    ),
    Fault(
        "route-to-hub-narrow",
        "one spoke's route to the hub allows small packets only",
        ("BCAST-01", "MTU-02", "MTU-07"),
        of_spoke("ip route add {remote}/32 dev {nic} mtu 576"),
        GUEST,
        finding=Named("route-mtu", victim_nic),
    ),
)
