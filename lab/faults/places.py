"""Places in a lab, as faults speak of them: node and interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lab.faults.fault import Locate
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.overlay.recognition.readback import carrier_of
from lab.underlay.fabric import segments

Who = Callable[[BuiltLab], Host]


def victim(lab: BuiltLab) -> Host:
    """The spoke that faults of a single spoke are put on: the last one."""
    return lab.spokes[-1]


WHO: Mapping[str, Who] = {
    "hub": lambda lab: lab.hub,
    "spoke": victim,
    "spoke1": lambda lab: lab.spokes[0],
    "unsampled": lambda lab: lab.spokes[-2],  # by tests of some hosts, which take the first two spokes and the last
}
"""The hosts that faults are put on."""


def names(lab: BuiltLab, host: Host) -> dict[str, str]:
    """
    What a command on a host, or the name of an interface there, may have in braces.

    `{hub}`, `{remote}` and `{port}`, `{ports}` are the hub's; without a hub, its first peer's and the host's own.
    """
    own = lab.topology.ports(host.name) or [host.plan.device]
    hub = lab.hubs[0] if lab.hubs else lab.hosts[lab.topology.peers(host.name)[0]]
    return {
        "device": host.plan.device,
        "nic": host.plan.nic,
        "own": host.address(),
        "overlay": str(host.plan.overlay),
        "broadcast": host.plan.broadcast(),
        "groups": str(lab.topology.multicast_route),
        "underlay": host.address("underlay"),
        "network": str(host.plan.underlay.network),
        "hub": hub.address(),
        "remote": hub.address("underlay"),
        "leg": own[-1],
        "port": hub_port(lab) if lab.hubs else own[0],
        "ports": " ".join(lab.topology.ports(hub.name) if lab.hubs else own),
        "first": lab.spokes[0].address(),
        "carrier": carrier_of(lab.topology.options.kind, ()).iptables,
    }


def device(who: Who, name: str) -> Locate:
    """A device of a name on a host."""
    return lambda lab: (who(lab).name, name.format(**names(lab, who(lab))))


def hub_port(lab: BuiltLab) -> str:
    """The hub's end of the one spoke's tunnel."""
    return lab.topology.port(lab.hub.name, victim(lab).name)


def names_in_cloud(lab: BuiltLab) -> dict[str, str]:
    """What a command on the cloud's own node may have in braces; the port of a host is called as the host."""
    spoke, bridge = victim(lab), segments(lab.topology, lab.underlay)[-1].bridge
    return {"spoke": spoke.name, "mac": spoke.plan.underlay_mac, "ports": " ".join(lab.hosts), "bridge": bridge}
