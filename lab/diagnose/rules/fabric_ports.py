"""Rules of the emulated cloud network itself: its ports, their flooding, and its entry for each host."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.codes import declared
from lab.diagnose.rules.settings import BY_IP, PortFlag
from lab.diagnose.scene import Scene
from lab.model import Finding, mac_of
from lab.records import Link, Port
from lab.underlay.fabric import FABRIC, REFUSALS, FabricPort, Segment, segments

FLOODING = ("flood", "mcast_flood", "bcast_flood")
DISABLED, FORWARDING = 0, 3  # the states of a port that bridge(8) takes
FLAGS = (
    PortFlag("neigh_suppress", 0, "fabric-arp-unanswered"),
    PortFlag("isolated", 0, "fabric-port-isolated"),
    PortFlag("proxy_arp", 1, "fabric-arp-unanswered", BY_IP),
)


def ports(scene: Scene) -> Iterator[Finding]:
    """Every host's port is there, up, in its subnet's bridge, floods nothing, and takes what the host's NIC takes."""
    links = {link.name: link for link in scene.fabric.get("links", ())}
    for segment in segments(scene.topology, scene.underlay) if links else ():
        name, bridge = segment.bridge, links.get(segment.bridge)
        if bridge is not None and not bridge.up:
            again = " && ".join(_known_again(segment, port) for port in segment.ports)
            yield declared("fabric-down", FABRIC, name, again=again)
        if bridge is not None and bridge.details.get("vlan_filtering"):
            yield declared("fabric-filters-vlans", FABRIC, name)
        for port in segment.ports:
            link = links.get(port.device)
            if port.node in scene.hosts and link is not None:
                yield from _port(scene, segment, port, link, bridge)


def _port(scene: Scene, segment: Segment, port: FabricPort, link: Link, bridge: Link | None) -> Iterator[Finding]:
    name, wanted = port.device, scene.underlay.provider.mtu
    if not link.up:
        yield declared("fabric-port-down", FABRIC, name)
    if scene.planned and link.mtu < wanted:
        cloud = scene.underlay.provider.title
        yield declared("fabric-mtu", FABRIC, name, mtu=link.mtu, cloud=cloud, wanted=wanted)
    if bridge is not None and link.master != bridge.name:
        found = f"master {link.master or 'none'}; expected {segment.bridge}"
        again = f"ip link set {name} master {segment.bridge} && {_refusing(name)} && {_placed(port)}"
        yield declared("fabric-port-not-bridged", FABRIC, name, found, again)
        return
    found_port = next((one for one in scene.fabric.get("ports", ()) if one.dev == name), None)
    if found_port is not None:
        yield from _flags(name, found_port, has_carrier=link.lower_up)
    yield from _place(scene, segment, port, bridge)


def _flags(name: str, port: Port, *, has_carrier: bool) -> Iterator[Finding]:
    # the kernel itself disables a port without carrier, as when the host's NIC at the other end is down
    if port.state == "disabled" and has_carrier:
        forward = f"bridge link set dev {name} state {FORWARDING}"
        yield declared("fabric-port-down", FABRIC, name, f"state {DISABLED}, disabled", forward)
    for flag in FLAGS:
        if flag.is_wrong(port.flags.get(flag.word)):
            yield declared(flag.code, FABRIC, name, f"{flag.word} {'off' if flag.wanted else 'on'}", flag.fix(name))
    wrong = [word for word in FLOODING if bool(port.flags.get(word)) != bool(REFUSALS[word])]
    if wrong:
        off = f"bridge link set dev {name} " + " ".join(f"{word} off" for word in wrong)
        yield declared("fabric-floods", FABRIC, name, ", ".join(f"{word} on" for word in wrong), off)


def _place(scene: Scene, segment: Segment, port: FabricPort, bridge: Link | None) -> Iterator[Finding]:
    """The network does not learn or query: every host's place is configured."""
    mac, address = mac_of(port.address.ip), str(port.address.ip)
    at = {entry.dev for entry in scene.fabric["fdb"] if entry.lladdr == mac and entry.master}
    known = any((entry.dst, entry.lladdr) == (address, mac) for entry in scene.fabric["neighbours"])
    lacks = [
        *([] if at == {port.device} else [f"the MAC {mac} is at {', '.join(map(str, at)) or 'no port'}"]),
        *([] if known or bridge is None or not bridge.up else [f"no neighbour entry {address} lladdr {mac}"]),
    ]
    if lacks:
        yield declared("fabric-entry-missing", FABRIC, port.device, "; ".join(lacks), _known_again(segment, port))


def _refusing(name: str) -> str:
    words = " ".join(f"{word} off" for word in (*FLOODING, "learning"))
    return f"bridge link set dev {name} {words} && ip link set {name} type bridge_slave proxy_arp on"


def _placed(port: FabricPort) -> str:
    return f"bridge fdb replace {mac_of(port.address.ip)} dev {port.device} master static"


def _known_again(segment: Segment, port: FabricPort) -> str:
    """Where a NIC is, written down again."""
    address = port.address.ip
    return f"{_placed(port)} && ip neigh replace {address} lladdr {mac_of(address)} dev {segment.bridge} nud permanent"


RULES = (ports,)
