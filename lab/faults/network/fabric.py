"""Faults of the emulated cloud network: a port that is out, a network that is down or does not know where a NIC is."""

from __future__ import annotations

from lab.faults.table import read

FAULTS = read(
    """\
cloud-unplugged: the cloud's port of one spoke is in no subnet
    cloud: ip link set {spoke} nomaster
    red: BCAST-01 PRE-03; finding: fabric-port-not-bridged at cloud {spoke}
cloud-entry-missing: the cloud does not know behind which port one spoke's NIC is
    cloud: bridge fdb del {mac} dev {spoke} master
    red: BCAST-01 PRE-03; finding: fabric-entry-missing at cloud {spoke}
cloud-down: the cloud's network is down
    cloud: ip link set {bridge} down
    red: BCAST-01 PRE-03; finding: fabric-down at cloud {bridge}
cloud-port-blocked: the cloud's port of one spoke forwards nothing
    cloud: bridge link set dev {spoke} state 0
    red: BCAST-01 PRE-03; finding: fabric-port-down at cloud {spoke}
cloud-vlans: the cloud's port of one spoke is in no VLAN, and the cloud filters them
    cloud: ip link set {bridge} type bridge vlan_filtering 1 && bridge vlan del dev {spoke} vid 1
    red: BCAST-01 PRE-03; finding: fabric-filters-vlans at cloud {bridge}; tunnels: gretap
cloud-port-small: the cloud's port of one spoke has a small MTU: it drops larger packets
    cloud: ip link set {spoke} mtu 1500
    red: MTU-07; green: ICMP-01; finding: fabric-mtu at cloud {spoke}; tunnels: gretap
    """
)
