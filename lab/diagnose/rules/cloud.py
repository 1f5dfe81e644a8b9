"""Rules of the cloud's network, live or emulated: what it drops or delivers though it should not, and its ports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lab import tunnels
from lab.clouds import firmware
from lab.clouds.firmware import Carrier
from lab.diagnose.codes import declared, wrong
from lab.diagnose.effects import can_lose, unexplained
from lab.diagnose.losses import Loss
from lab.diagnose.scene import HostScene, Scene
from lab.diagnose.trial import CONTROL_TTL
from lab.model import CLOUD, Finding, Network, mac_of
from lab.overlay.recognition import readback
from lab.overlay.recognition.readback import Device, carrier_of
from lab.stack.records import Port
from lab.underlay.fabric import FABRIC, REFUSALS, FabricPort, Segment, segments

FLOODING = ("flood", "mcast_flood", "bcast_flood")
DISABLED, FORWARDING = 0, 3  # the states of a port that bridge(8) takes


def blocked(scene: Scene, causes: Sequence[Finding]) -> Iterator[Finding]:
    """Tunnel packets leave one host and do not reach the other, while other unicast does."""
    ways: dict[tuple[str, str], Loss] = {}
    for loss in scene.losses:
        if loss.stage == "cloud" and loss.last is not None and loss.whole and loss.exchange.kind == "broadcast":
            ways.setdefault((loss.last.node, loss.missing.node), loss)
    dropped: dict[tuple[str, str], Loss] = {}
    for (start, end), loss in ways.items():
        if any(can_lose(scene, one, loss) for one in causes):
            continue
        if _unicast_passes(scene, "underlay", start, end) is not False:  # of many spokes a few send
            dropped[start, end] = loss
        else:
            plan, to = scene.hosts[end].plan, scene.hosts[end].plan.address("underlay")
            yield declared("underlay-unreachable", end, plan.nic, loss=loss, address=to, start=start)
    kind = tunnels.kind(scene.topology.options.kind)
    carrier = carrier_of(kind.name, [host.seen for host in scene.hosts.values()])
    remedy = _opening(scene, carrier, [start for start, _ in dropped])
    places: dict[tuple[str, str], dict[tuple[str, str], Loss]] = {}
    for way, loss in dropped.items():
        place = (loss.inside.node, loss.inside.interface) if loss.inside else (fabric_name(scene), "")
        places.setdefault(place, {})[way] = loss
    for place, losses in places.items():
        ends = {start: " and ".join(end for one, end in losses if one == start) for start, _ in losses}
        listed = ", ".join(f"{start} to {each}" for start, each in ends.items())
        yield Finding(
            f"{kind.carrier}-blocked",
            *place,
            f"the cloud's network drops {carrier} ({kind.carrier.upper()}): {listed}",
            f"{'other ' if kind.port else ''}UDP between the same addresses arrives; {next(iter(losses.values()))}",
            remedy,
        )


def _opening(scene: Scene, carrier: Carrier, senders: Iterable[str]) -> str:
    """What lets the hosts' tunnels in, in the cloud that the run is about, and what there is to say of it."""
    sources = [scene.hosts[name].plan.endpoint for name in dict.fromkeys(senders)]
    notes = []
    if not scene.fabric:  # whose cloud it is, the hosts' own state does not say
        notes.append(f"{scene.underlay.provider.title}; of another cloud: --provider=")
    if tunnels.kind(scene.topology.options.kind).over_ipv6:
        # its packets have destination options before GRE, which filters drop more often than GRE (RFC 9098)
        notes.append("if that does not help, make the tunnels with `encaplimit none`")
    command = firmware.opening(scene.underlay.provider, carrier, sources)
    return f"{command}    # {'; '.join(notes)}" if notes else command


def _unicast_passes(scene: Scene, network: Network, start: str, end: str) -> bool | None:
    """Whether unicast from one host reached another on a network; None: it was not tried."""
    tried = [one for one in scene.trial.of("unicast", network) if (one.sender, *one.receivers) == (start, end)]
    return any(one.hearers for one in tried) if tried else None


def floods(scene: Scene) -> Iterator[Finding]:
    """The network under the overlay delivers broadcast by itself: nothing that is delivered proves the overlay."""
    if scene.underlay.provider.broadcast:
        return
    for exchange in scene.trial.of("broadcast", "underlay"):
        hearers = ", ".join(exchange.hearers)
        if hearers:
            yield declared("underlay-floods", fabric_name(scene), "", exchange=exchange, hearers=hearers)
            return


def domain(scene: Scene, causes: Sequence[Finding]) -> Iterator[Finding]:
    """A cloud that delivers groups by itself delivers each host's, and to each host."""
    delivering = scene.underlay.provider.groups
    if not scene.topology.native:
        return
    lost = [loss for loss in unexplained(scene, causes) if loss.whole and loss.exchange.kind == "multicast"]
    ways = [(loss.exchange.sender, loss.receiver) for loss in lost]
    ends = [{*way} for way in ways if _unicast_passes(scene, "overlay", *way)]
    common = [name for name in scene.hosts if ends and all(name in both for both in ends)]
    if common and delivering:
        at = (FABRIC, common[-1]) if scene.fabric else (CLOUD, "")
        yield declared("subnet-not-in-domain", *at, host=common[-1], loss=lost[0], associate=delivering.associate)


def hops(scene: Scene, causes: Sequence[Finding]) -> Iterator[Finding]:
    """More routers between the hosts than there should be."""
    if not scene.planned or any(one.code == "underlay-detour" for one in causes):
        return
    wanted = scene.underlay.routers
    for exchange in scene.trial.of("unicast", "underlay"):
        if exchange.spent > wanted:
            to = scene.hosts[exchange.receivers[0]]
            sent, least = CONTROL_TTL, min(exchange.ttls)
            at = fabric_name(scene)
            yield declared(
                "underlay-hops", at, "", exchange=exchange, wanted=wanted, to=to.plan, sent=sent, least=least
            )
            return


def source_check(scene: Scene) -> Iterator[Finding]:
    """The cloud lets a source address pass that the sender's VNIC does not own."""
    for exchange in scene.trial.of("foreign source", "underlay"):
        hearers = ", ".join(exchange.hearers)
        if exchange.sources == {scene.hosts[exchange.sender].plan.address("underlay")}:
            continue  # the host's own translation of addresses has made it honest
        if hearers and scene.underlay.provider.source_check:
            sender = exchange.sender if scene.fabric else ""
            yield declared("source-check-off", fabric_name(scene), sender, exchange=exchange, hearers=hearers)
            return


def mtu(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The NICs have at least the provider's MTU; that of the overlay's devices is another rule's."""
    cloud, nic = scene.underlay.provider, host.nic
    if nic is not None and cloud.groups and nic.mtu > cloud.groups.mtu:
        yield host.declared("nic-mtu-over-groups", nic.name, mtu=nic.mtu, most=cloud.groups.mtu)
    elif nic is not None and not cloud.groups and scene.planned and nic.mtu < cloud.mtu:
        yield host.declared("nic-mtu", nic.name, mtu=nic.mtu, cloud=cloud.title, wanted=cloud.mtu)


def fabric_name(scene: Scene) -> str:
    """The node of findings about the cloud's network: the emulated one, or the live cloud."""
    return FABRIC if scene.fabric else CLOUD


def ports(scene: Scene) -> Iterator[Finding]:
    """Every host's port is there, up, in its subnet's bridge, floods nothing, and takes what the host's NIC takes."""
    if not scene.fabric:
        return
    devices = readback.seen(FABRIC, scene.fabric, {}).devices
    for segment in segments(scene.topology, scene.underlay):
        name, bridge = segment.bridge, devices.get(segment.bridge)
        if bridge is not None and not bridge.up:
            again = " && ".join(_known_again(segment, port) for port in segment.ports)
            yield declared("fabric-down", FABRIC, name, again=again)
        if bridge is not None and bridge.details.get("vlan_filtering"):
            yield declared("fabric-filters-vlans", FABRIC, name)
        for port in segment.ports:
            device = devices.get(port.device)
            if port.node in scene.hosts and device is not None:
                yield from _port(scene, segment, port, device, bridge)


def _port(scene: Scene, segment: Segment, port: FabricPort, device: Device, bridge: Device | None) -> Iterator[Finding]:
    name, wanted = port.device, scene.underlay.provider.mtu
    if not device.up:
        yield declared("fabric-port-down", FABRIC, name)
    if scene.planned and device.mtu < wanted:
        cloud = scene.underlay.provider.title
        yield declared("fabric-mtu", FABRIC, name, mtu=device.mtu, cloud=cloud, wanted=wanted)
    if bridge is not None and device.master != bridge.name:
        found = f"its master is {device.master}" if device.master else "it has no master"
        again = f"ip link set {name} master {segment.bridge} && {_refusing(name)} && {_placed(port)}"
        yield declared("fabric-port-not-bridged", FABRIC, name, f"{found}; expected {segment.bridge}", again)
        return
    if device.port is not None:
        yield from _flags(name, device.port, has_carrier=device.lower_up)
    yield from _place(scene, segment, port, bridge)


def _flags(name: str, port: Port, *, has_carrier: bool) -> Iterator[Finding]:
    # the kernel itself disables a port without carrier, as when the host's NIC at the other end is down
    if port.state == "disabled" and has_carrier:
        forward = f"bridge link set dev {name} state {FORWARDING}"
        yield declared("fabric-port-down", FABRIC, name, f"state {DISABLED}, disabled", forward)
    for one, _ in wrong("cloud port", port.flags.get):
        yield declared(one.code, FABRIC, name, f"{one.name} {'off' if one.usual else 'on'}", one.flag(name))
    floods = [word for word in FLOODING if bool(port.flags.get(word)) != bool(REFUSALS[word])]
    if floods:
        off = f"bridge link set dev {name} " + " ".join(f"{word} off" for word in floods)
        yield declared("fabric-floods", FABRIC, name, ", ".join(f"{word} on" for word in floods), off)


def _place(scene: Scene, segment: Segment, port: FabricPort, bridge: Device | None) -> Iterator[Finding]:
    """The network does not learn or query: every host's place is configured."""
    mac, address = mac_of(port.address.ip), str(port.address.ip)
    at = {entry.dev for entry in scene.fabric["fdb"] if entry.lladdr == mac and entry.master}
    known = any((entry.dst, entry.lladdr) == (address, mac) for entry in scene.fabric["neighbours"])
    found = f"the fdb entry of MAC {mac} is at {', '.join(map(str, at))}" if at else f"no fdb entry for MAC {mac}"
    lacks = [
        *([] if at == {port.device} else [found]),
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
