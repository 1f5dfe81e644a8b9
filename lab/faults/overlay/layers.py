"""
Faults of what stands on a tunnel or a NIC, of what they were put under, and of addresses and routes that look right.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.table import read

FAULTS = read(
    """\
macvlan-on-tunnel: one spoke's tunnel has a macvlan on it, which receives a second copy of each broadcast
    spoke: ip link add macvlan1 link {device} type macvlan mode bridge && ip link set macvlan1 up
    red: BCAST-01 BCAST-06; green: MCAST-01; finding: device-on-top at spoke macvlan1; tunnels: gretap
macvlan-takes-nic: one spoke's NIC has a macvlan of mode passthru, which receives all its packets
    spoke: ip link add macvlan1 link {nic} type macvlan mode passthru && ip link set macvlan1 up
    red: BCAST-01 PRE-03; finding: device-on-top at spoke macvlan1; tunnels: gretap
nic-bridged: one spoke's NIC was made a port of a bridge, and its address left where it was
    spoke: ip link add br-lan type bridge && ip link set br-lan up && ip link set {nic} master br-lan
    red: BCAST-01 PRE-03; finding: device-enslaved at spoke {nic}; tunnels: gretap
loopback-down: one spoke's loopback device is down
    spoke: ip link set lo down
    red: ICMP-01; green: BCAST-01; finding: loopback-down at spoke lo; tunnels: gretap
arp-requests-off: one spoke sends no ARP requests on the overlay
    spoke: sysctl -w net.ipv4.neigh.{device}.mcast_solicit=0
    red: BCAST-08; finding: arp-requests-off at spoke {device}; tunnels: gretap
default-ttl-1: packets that one spoke sends have a TTL of 1
    spoke: sysctl -w net.ipv4.ip_default_ttl=1
    red: TTL-05; green: BCAST-01; finding: default-ttl-low at spoke; tunnels: gretap
other-address-first: one spoke has another address of the overlay's subnet before its own, and uses it as the source
    spoke: ip addr del {own}/24 dev {device} && ip addr add 172.16.254.99/24 dev {device}
    spoke: ip addr add {own}/24 dev {device} && ip route replace 224.0.0.0/4 dev {device}
    red: ICMP-01; green: MCAST-12; finding: overlay-source-foreign at spoke {device}; tunnels: gretap
address-twice: the hub's overlay address is on its loopback device too, and programs join groups there
    hub: ip addr add {own}/32 dev lo
    red: MCAST-01; green: BCAST-01; finding: overlay-address-twice at hub lo; tunnels: gretap
broadcast-address-wrong: one spoke's overlay address has a broadcast address of another subnet
    spoke: ip addr del {own}/24 dev {device} && ip addr replace {own}/24 broadcast 172.16.255.255 dev {device}
    spoke: ip route replace 224.0.0.0/4 dev {device}
    red: PRE-09; green: MCAST-01; finding: broadcast-address-wrong at spoke {device}; tunnels: gretap
endpoint-taken: one spoke has the hub's address of the underlay on its loopback device, as a standby has
    spoke: ip addr add {remote}/32 dev lo
    red: BCAST-01 PRE-03; finding: endpoint-taken at spoke lo
source-elsewhere: one spoke sends into the overlay from an address that the other hosts have no route to
    spoke: ip addr add 192.0.2.7/32 dev lo && ip route replace 172.16.254.0/24 dev {device} src 192.0.2.7
    red: ICMP-01; green: MCAST-12; finding: overlay-source-foreign at spoke {device}
gateway-wrong: the hub's default route leads to an address that is not a router's
    hub: ip route replace default via 10.0.0.9 dev {nic}
    red: TTL-03; green: BCAST-01; finding: underlay-detour at hub {nic}
tunnel-shadowed: one spoke has a second tunnel of the same addresses, which the kernel prefers
    spoke: ip link add gretap9 type gretap local {underlay} remote {remote} dev {nic} ttl 64 && ip link set gretap9 up
    red: MCAST-01; finding: tunnel-shadowed at spoke gretap9; tunnels: gretap
vxlan-extended: one spoke's VXLAN device sends a flag that is off on the hub's
    spoke: ip link del {device} && ip link add {device} type vxlan id 2 remote {remote} local {underlay} \
            dstport 4789 dev {nic} ttl 64 remcsumtx && ip link set {device} up
    spoke: ip addr add {own}/24 dev {device} && ip route add 224.0.0.0/4 dev {device}
    red: BCAST-01 MCAST-01; finding: vxlan-extended at spoke {device}; tunnels: vxlan
groups-kept: one spoke's table `local` keeps every group to the spoke itself
    spoke: ip route add local 224.0.0.0/4 dev lo table local
    red: MCAST-01; green: BCAST-01; finding: local-route-foreign at spoke {device}; tunnels: gretap
route-to-hub-narrow: one spoke's route to the hub allows small packets only
    spoke: ip route add {remote}/32 dev {nic} mtu 576
    red: BCAST-01 MTU-02 MTU-07; finding: route-mtu at spoke {nic}; tunnels: gretap
    """
)
