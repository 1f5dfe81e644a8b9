"""
Faults of a host's own set-up: its routing tables, its neighbours, the names and masters of its devices.

Each is one command that was run for another purpose.
"""

from __future__ import annotations

from lab.faults.table import read

FAULTS = read(
    """\
broadcast-not-local: one spoke's table `local` lost the route for broadcast: the kernel does not deliver it
    spoke: ip route del broadcast {broadcast} dev {device} table local
    red: BCAST-01 BCAST-02 BCAST-07; green: MCAST-01; finding: local-route-missing at spoke {device}; tunnels: gretap
address-not-local: one spoke's table `local` lost the route for its overlay address: nothing is delivered to it
    spoke: ip route del local {own} dev {device} table local
    red: BCAST-08 ICMP-01; finding: local-route-missing at spoke {device}; tunnels: gretap
endpoint-not-local: one spoke's table `local` lost the route for its NIC's address: nothing is delivered to it
    spoke: ip route del local {underlay} dev {nic} table local
    red: BCAST-01 PRE-03; finding: local-route-missing at spoke {nic}; tunnels: gretap
bridge-in-vrf: the hub's bridge was put into a VRF
    hub: ip link add red type vrf table 10 && ip link set red up && ip link set {device} master red
    red: BCAST-02 MCAST-01; finding: device-in-vrf at hub {device}; tunnels: gretap
nic-in-vrf: one spoke's NIC was put into a VRF
    spoke: ip link add red type vrf table 10 && ip link set red up && ip link set {nic} master red
    red: BCAST-01; finding: device-in-vrf at spoke {nic}; tunnels: gretap
main-table-unused: the rule that leads to one spoke's main table was deleted
    spoke: ip rule del priority 32766
    red: BCAST-01 MCAST-01; finding: main-table-unused at spoke; tunnels: gretap
local-table-unused: the rule that leads to one spoke's table `local` was deleted
    spoke: ip rule del priority 0
    red: BCAST-01 MCAST-01; finding: local-table-unused at spoke
group-routed-away: one spoke routes one part of the multicast range to its NIC
    spoke: ip route add 239.255.0.0/16 dev {nic}
    red: MCAST-08; green: MCAST-01; finding: multicast-route-elsewhere at spoke {nic}
multicast-by-gateway: one spoke's multicast route names the hub as its gateway: groups become unicast to it
    spoke: ip route replace 224.0.0.0/4 via {hub} dev {device}
    red: MCAST-01; green: BCAST-01; finding: multicast-route-elsewhere at spoke {device}
address-of-host-scope: one spoke's overlay address has the scope `host`: multicast is sent from its NIC's address
    spoke: ip addr del {own}/24 dev {device} && ip addr add {own}/24 dev {device} scope host
    spoke: ip route replace 224.0.0.0/4 dev {device}
    red: MCAST-01; finding: overlay-address-scope at spoke {device}
policy-blackhole: a rule of one spoke sends multicast nowhere before the main table is asked
    spoke: ip rule add priority 0 to 224.0.0.0/4 blackhole
    red: MCAST-01; green: BCAST-01; finding: policy-rule at spoke; tunnels: gretap
groups-unroutable: one spoke's routes of 239/8 lead nowhere, and a part of it to the gateway
    spoke: ip route add throw 239.0.0.0/8
    spoke: ip route add 239.192.0.0/10 dev {nic}
    red: MCAST-08; green: BCAST-01; finding: multicast-route-elsewhere at spoke {nic}; tunnels: gretap
neighbours-by-gateway: one spoke lost the route to its own subnet, and sends to its neighbours through the gateway
    spoke: ip route del {network} dev {nic}
    red: BCAST-01 PRE-03; finding: underlay-detour at spoke {nic}; tunnels: gretap
neighbours-by-other-nic: one spoke's route to its own subnet leads out of a second NIC
    spoke: ip link add ens4 type veth peer name ens4p && ip link set ens4p up && ip link set ens4 up
    spoke: ip route replace {network} dev ens4
    red: BCAST-01 PRE-03; finding: underlay-detour at spoke ens4
rule-refuses: one spoke's policy rule refuses what its tunnel sends
    spoke: ip route add blackhole default table 7 && ip rule add from {underlay} lookup 7
    red: ICMP-01; finding: policy-rule at spoke
network-overlaps: one spoke has a network for containers that includes the overlay's network
    spoke: ip link add docker0 type bridge && ip link set docker0 up && ip addr add 172.16.0.1/16 dev docker0
    red: PRE-09; green: BCAST-01 MCAST-01; finding: network-overlaps at spoke docker0
nic-noarp: one spoke's NIC does not use ARP
    spoke: ip link set {nic} arp off
    red: BCAST-01; finding: device-noarp at spoke {nic}; tunnels: gretap
bridge-noarp: the hub's bridge does not use ARP
    hub: ip link set {device} arp off
    red: BCAST-08; finding: device-noarp at hub {device}; tunnels: gretap
neighbour-fixed: one spoke has a permanent neighbour entry with a wrong MAC for the hub
    spoke: ip neigh replace {hub} lladdr 02:00:00:00:00:99 dev {device} nud noarp
    red: ICMP-01; finding: neighbour-wrong at spoke {device}; tunnels: gretap
tunnel-renamed: the hub's end of one tunnel has another name than the plan's
    hub: ip link set {port} down && ip link set {port} name tunnel9 && ip link set tunnel9 up
    red: PRE-01 PRE-11; finding: tunnel-renamed at hub {port}; tunnels: gretap
tunnel-of-loopback: one spoke's tunnel is bound to the loopback device
    spoke: ip link set {device} type gretap remote {remote} local {underlay} ttl 64 dev lo
    red: BCAST-01; finding: tunnel-device-mismatch at spoke {device}; tunnels: gretap
other-bridge: one tunnel of the hub is a port of another bridge
    hub: ip link add bridge9 type bridge && ip link set bridge9 up && ip link set {port} master bridge9
    red: HUB-02 BCAST-01; finding: port-not-bridged at hub {port}; tunnels: gretap
vlan-of-one-port: the hub filters VLANs, and one port has another one
    hub: ip link set {device} type bridge vlan_filtering 1
    hub: bridge vlan add dev {port} vid 10 pvid untagged && bridge vlan del dev {port} vid 1
    red: HUB-02 BCAST-01; finding: vlan-filtering at hub {device}; tunnels: gretap
addresses-forgotten: the hub forgets every MAC at once
    hub: ip link set {device} type bridge ageing_time 0
    red: HUB-03; green: BCAST-01; finding: addresses-forgotten at hub {device}; tunnels: gretap
vxlan-flooded-twice: one spoke's VXLAN device has a second entry for what it floods
    spoke: bridge fdb append 00:00:00:00:00:00 dev {device} dst {remote}
    red: BCAST-01; finding: vxlan-entry-elsewhere at spoke {device}; tunnels: vxlan
vxlan-floods-nowhere: one spoke's VXLAN device lost the all-zeros entry: it floods nothing
    spoke: bridge fdb del 00:00:00:00:00:00 dev {device}
    red: BCAST-01 MCAST-01; finding: vxlan-flood-missing at spoke {device}; tunnels: vxlan
vxlan-proxy: one spoke's VXLAN device answers ARP itself and sends no request
    spoke: ip link del {device} && ip link add {device} type vxlan id 2 remote {remote} local {underlay} \
            dstport 4789 dev {nic} ttl 64 proxy && ip link set {device} up
    spoke: ip addr add {own}/24 dev {device} && ip route add 224.0.0.0/4 dev {device}
    red: BCAST-08; finding: vxlan-proxy at spoke {device}; tunnels: vxlan
    """
)
