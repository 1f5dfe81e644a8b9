"""Rules of the emulated cloud network itself: its ports, what they flood, and whether it knows where each host is."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.scene import Scene
from lab.model import Finding, mac_of
from lab.records import Link
from lab.records import Port as BridgePort
from lab.underlay.fabric import FABRIC, REFUSALS, Port, Segment, segments

FLOODING = ("flood", "mcast_flood", "bcast_flood")
DISABLED, FORWARDING = 0, 3  # the states of a port that bridge(8) takes


def ports(scene: Scene) -> Iterator[Finding]:
    """Every host's port is there, up, in its subnet's bridge, floods nothing, and takes what the host's NIC takes."""
    links = {link.name: link for link in scene.fabric.get("links", ())}
    for segment in segments(scene.topology, scene.underlay) if links else ():
        bridge = links.get(segment.bridge)
        if bridge is not None and not bridge.up:
            again = " && ".join(_known_again(segment, port) for port in segment.ports)
            yield _finding(
                "fabric-down",
                segment.bridge,
                f"{segment.bridge}, the emulated network, is down",
                "the device lacks the flag UP",
                f"ip link set {segment.bridge} up && {again}",
            )
        if bridge is not None and bridge.details.get("vlan_filtering"):
            yield _finding(
                "fabric-filters-vlans",
                segment.bridge,
                f"{segment.bridge}, the emulated network, passes only the VLANs that a port is a member of",
                "vlan_filtering 1",
                f"ip link set {segment.bridge} type bridge vlan_filtering 0",
            )
        for port in segment.ports:
            link = links.get(port.device)
            if port.node in scene.hosts and link is not None:
                yield from _port(scene, segment, port, link, bridge)


def _port(scene: Scene, segment: Segment, port: Port, link: Link, bridge: Link | None) -> Iterator[Finding]:
    name, wanted, found = port.device, scene.underlay.provider.mtu, link.mtu
    if not link.up:
        yield _finding(
            "fabric-port-down",
            name,
            f"the emulated network's port to {port.node} is down",
            "the device lacks the flag UP",
            f"ip link set {name} up",
        )
    if scene.planned and found < wanted:
        yield Finding(
            "fabric-mtu",
            FABRIC,
            name,
            f"the emulated network's port to {port.node} has MTU {found}, and {scene.underlay.provider.title} "
            f"gives {wanted}",
            f"mtu {found}",
            f"ip link set {name} mtu {wanted}",
        )
    if bridge is not None and link.master != bridge.name:
        yield _finding(
            "fabric-port-out",
            name,
            f"the emulated network's port to {port.node} is no port of {segment.bridge}",
            f"master {link.master or 'none'}",
            f"ip link set {name} master {segment.bridge} && {_refusing(name)} && {_placed(port)}",
        )
        return
    found_port = next((one for one in scene.fabric.get("ports", ()) if one.dev == name), None)
    if found_port is not None:
        yield from _flags(name, port.node, found_port, has_carrier=link.lower_up)
    yield from _place(scene, segment, port, bridge)


def _flags(name: str, host: str, port: BridgePort, *, has_carrier: bool) -> Iterator[Finding]:
    # the kernel itself disables a port without carrier, as when the host's NIC at the other end is down
    if port.state == "disabled" and has_carrier:
        yield _finding(
            "fabric-port-down",
            name,
            f"the emulated network's port to {host} forwards nothing",
            f"state {DISABLED}, disabled",
            f"bridge link set dev {name} state {FORWARDING}",
        )
    if port.flags.get("neigh_suppress"):
        yield _finding(
            "fabric-asks-nobody",
            name,
            f"the emulated network keeps from {host} what is answered to its ARP",
            "neigh_suppress on",
            f"bridge link set dev {name} neigh_suppress off",
        )
    if port.flags.get("isolated"):
        yield Finding(
            "fabric-isolates",
            FABRIC,
            name,
            f"the emulated network's port to {host} is isolated: it reaches no other port that is",
            "isolated on",
            f"bridge link set dev {name} isolated off",
        )
    if not port.flags.get("proxy_arp", 1):
        yield _finding(
            "fabric-asks-nobody",
            name,
            f"the emulated network does not answer ARP of {host} in place of the others, and passes none on",
            "proxy_arp off",
            f"ip link set {name} type bridge_slave proxy_arp on",
        )
    wrong = [word for word in FLOODING if bool(port.flags.get(word)) != bool(REFUSALS[word])]
    if wrong:
        yield Finding(
            "fabric-floods",
            FABRIC,
            name,
            f"the emulated network's port to {host} floods ({', '.join(wrong)})",
            ", ".join(f"{word} on" for word in wrong),
            f"bridge link set dev {name} " + " ".join(f"{word} off" for word in wrong),
        )


def _place(scene: Scene, segment: Segment, port: Port, bridge: Link | None) -> Iterator[Finding]:
    """The network learns and asks nothing: who is where has been written down."""
    mac, address = mac_of(port.address.ip), str(port.address.ip)
    at = {entry.dev for entry in scene.fabric["fdb"] if entry.lladdr == mac and entry.master}
    known = any((entry.dst, entry.lladdr) == (address, mac) for entry in scene.fabric["neighbours"])
    lacks = [
        *([] if at == {port.device} else [f"has the MAC {mac} at {', '.join(map(str, at)) or 'no port'}"]),
        *([] if known or bridge is None or not bridge.up else [f"has no neighbour {address} {mac}"]),
    ]
    if lacks:
        yield _finding(
            "fabric-forgot",
            port.device,
            f"the emulated network does not know where {port.node} is",
            f"it {' and '.join(lacks)}",
            _known_again(segment, port),
        )


def _finding(code: str, name: str, summary: str, evidence: str, remedy: str) -> Finding:
    return Finding(code, FABRIC, name, summary, evidence, remedy)


def _refusing(name: str) -> str:
    words = " ".join(f"{word} off" for word in (*FLOODING, "learning"))
    return f"bridge link set dev {name} {words} && ip link set {name} type bridge_slave proxy_arp on"


def _placed(port: Port) -> str:
    return f"bridge fdb replace {mac_of(port.address.ip)} dev {port.device} master static"


def _known_again(segment: Segment, port: Port) -> str:
    """Where a NIC is, written down again."""
    address = port.address.ip
    return f"{_placed(port)} && ip neigh replace {address} lladdr {mac_of(address)} dev {segment.bridge} nud permanent"


def broken(scene: Scene) -> set[str]:
    """The hosts whose port in the emulated network is cut off, or all when the network is."""
    codes = [(finding.code, finding.interface) for finding in ports(scene)]
    if any(code == "fabric-down" for code, _ in codes):
        return set(scene.hosts)
    return {name for code, name in codes if code not in ("fabric-mtu", "fabric-floods")}


def small_ports(scene: Scene) -> set[str]:
    """The hosts whose port takes less than their NIC."""
    return {finding.interface for finding in ports(scene) if finding.code == "fabric-mtu"}


RULES = (ports,)
