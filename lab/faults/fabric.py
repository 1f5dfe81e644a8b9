"""Faults of the emulated cloud network: a port that is out, a network that is down or does not know where a NIC is."""

from __future__ import annotations

from lab.faults.fault import Fault, Inject, Named
from lab.faults.means import GUEST, shell
from lab.faults.places import cloud_port, victim
from lab.laboratory import BuiltLab
from lab.model import mac_of
from lab.underlay.fabric import FABRIC, segments


def _in_the_cloud(command: str) -> Inject:
    """A command on the cloud's own node, with the one spoke's port and MAC in it."""

    def inject(lab: BuiltLab) -> None:
        spoke = victim(lab)
        segment = segments(lab.topology, lab.underlay)[-1]
        names = {
            "port": lab.cloud.port_of(spoke.name),
            "mac": mac_of(spoke.plan.underlay.ip),
            "address": spoke.plan.underlay.ip,
            "bridge": segment.bridge,
        }
        shell(lab.fabric, command.format(**names))

    return inject


def _bridge(lab: BuiltLab) -> tuple[str, str]:
    return FABRIC, segments(lab.topology, lab.underlay)[-1].bridge


FAULTS = (
    Fault(
        "cloud-unplugged",
        "the cloud's port of one spoke is in no subnet",
        ("BCAST-01", "PRE-03"),
        _in_the_cloud("ip link set {port} nomaster"),
        finding=Named("fabric-port-out", cloud_port(victim)),
    ),
    Fault(
        "cloud-forgot",
        "the cloud does not know behind which port one spoke's NIC is",
        ("BCAST-01", "PRE-03"),
        _in_the_cloud("bridge fdb del {mac} dev {port} master"),
        finding=Named("fabric-forgot", cloud_port(victim)),
    ),
    Fault(
        "cloud-down",
        "the cloud's network is down",
        ("BCAST-01", "PRE-03"),
        _in_the_cloud("ip link set {bridge} down"),
        finding=Named("fabric-down", _bridge),
    ),
    Fault(
        "cloud-port-blocked",
        "the cloud's port of one spoke forwards nothing",
        ("BCAST-01", "PRE-03"),
        _in_the_cloud("bridge link set dev {port} state 0"),
        finding=Named("fabric-port-down", cloud_port(victim)),
    ),
    Fault(
        "cloud-vlans",
        "the cloud's port of one spoke is in no VLAN, and the cloud filters them",
        ("BCAST-01", "PRE-03"),
        _in_the_cloud("ip link set {bridge} type bridge vlan_filtering 1 && bridge vlan del dev {port} vid 1"),
        GUEST,
        finding=Named("fabric-filters-vlans", _bridge),
    ),
    Fault(
        "cloud-port-small",
        "the cloud's port of one spoke takes small packets only",
        ("MTU-07",),
        _in_the_cloud("ip link set {port} mtu 1500"),
        GUEST,
        greens=("ICMP-01",),
        finding=Named("fabric-mtu", cloud_port(victim)),
    ),
)
