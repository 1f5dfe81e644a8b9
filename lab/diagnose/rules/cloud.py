"""Rules of the cloud's network: what it drops though it should not, and what it delivers though it should not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lab import clouds, tunnels
from lab.clouds import Carrier
from lab.diagnose.codes import declared
from lab.diagnose.effects import can_lose, unexplained
from lab.diagnose.losses import Loss
from lab.diagnose.scene import Scene
from lab.diagnose.trial import CONTROL_TTL
from lab.model import CLOUD, Finding
from lab.overlay.readback import carrier_of
from lab.underlay.fabric import FABRIC


def blocked(scene: Scene, found: Sequence[Finding]) -> Iterator[Finding]:
    """Tunnel packets leave one host and do not reach the other, while other unicast does."""
    ways: dict[tuple[str, str], Loss] = {}
    for loss in scene.losses:
        if loss.stage == "cloud" and loss.last is not None and loss.whole and loss.exchange.kind == "broadcast":
            ways.setdefault((loss.last.node, loss.missing.node), loss)
    dropped: dict[tuple[str, str], Loss] = {}
    for (start, end), loss in ways.items():
        if any(can_lose(scene, one, loss) for one in found):
            continue
        if _control_passes(scene, start, end):
            dropped[start, end] = loss
        else:
            plan, to = scene.hosts[end].plan, scene.hosts[end].plan.address("underlay")
            yield declared("underlay-unreachable", end, plan.nic, loss=loss, address=to, start=start)
    kind = tunnels.kind(scene.topology.options.kind)
    carrier = carrier_of(kind.name, [host.seen for host in scene.hosts.values()])
    remedy = _opening(scene, carrier, [start for start, _ in dropped])
    for (start, end), loss in dropped.items():
        inside = loss.inside
        yield Finding(
            f"{kind.carrier}-blocked",
            inside.node if inside else fabric_name(scene),
            inside.interface if inside else "",
            f"{carrier} ({kind.carrier.upper()}) from {start} to {end} is dropped by the cloud's network",
            f"it left {start} {loss.last.interface if loss.last else ''}"
            + (f", was seen on {inside.node} {inside.interface}" if inside else "")
            + f" and never on {end} {loss.missing.interface}; UDP between the same addresses arrives",
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
    command = clouds.opening(scene.underlay.provider, carrier, sources)
    return f"{command}    # {'; '.join(notes)}" if notes else command


def _control_passes(scene: Scene, start: str, end: str) -> bool:
    for exchange in scene.trial.of("unicast", "underlay"):
        if exchange.sender == start and end in exchange.receivers:
            return not exchange.refused and bool((exchange.heard or {}).get(end))
    return True  # of many spokes a few send: nothing contradicts it


def floods(scene: Scene) -> Iterator[Finding]:
    """The network under the overlay delivers broadcast by itself: nothing that is delivered proves the overlay."""
    if scene.underlay.provider.broadcast:
        return
    for exchange in scene.trial.of("broadcast", "underlay"):
        hearers = ", ".join(exchange.hearers)
        if hearers:
            yield declared("underlay-floods", fabric_name(scene), "", exchange=exchange, hearers=hearers)
            return


def domain(scene: Scene, found: Sequence[Finding]) -> Iterator[Finding]:
    """A cloud that delivers groups by itself delivers each host's, and to each host."""
    delivering = scene.underlay.provider.groups
    if not scene.topology.native:
        return
    lost = [loss for loss in unexplained(scene, found) if loss.whole and loss.exchange.kind == "multicast"]
    ends = [{loss.exchange.sender, loss.receiver} for loss in lost if _unicast_passes(scene, loss)]
    common = [name for name in scene.hosts if ends and all(name in both for both in ends)]
    if common and delivering:
        at = (FABRIC, common[-1]) if scene.fabric else (CLOUD, "")
        yield declared("subnet-not-in-domain", *at, host=common[-1], loss=lost[0], associate=delivering.associate)


def _unicast_passes(scene: Scene, loss: Loss) -> bool:
    pair = (loss.exchange.sender, loss.receiver)
    return any(not one.lost(loss.receiver) for one in scene.trial.of("unicast") if (one.sender, *one.receivers) == pair)


def hops(scene: Scene, found: Sequence[Finding]) -> Iterator[Finding]:
    """More routers between the hosts than there should be."""
    if not scene.planned or any(one.code == "underlay-detour" for one in found):
        return
    wanted = scene.underlay.routers
    for exchange in scene.trial.of("unicast", "underlay"):
        if exchange.spent > wanted:
            to = scene.hosts[exchange.receivers[0]]
            said = f"{exchange.spent} routers between {exchange.sender} and {to.name}; expected {wanted}"
            said += f": sent with TTL {CONTROL_TTL}, arrived with {min(exchange.ttls)}"
            yield declared("underlay-hops", fabric_name(scene), "", said, to=to.plan.address("underlay"))
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


def mtu(scene: Scene) -> Iterator[Finding]:
    """The NICs have at least the provider's MTU; that of the overlay's devices is another rule's."""
    wanted, groups = scene.underlay.provider.mtu, scene.underlay.provider.groups
    for host in scene.hosts.values():
        nic = host.nic
        if groups and nic is not None:
            if nic.mtu > groups.mtu:
                yield host.declared("nic-mtu-over-groups", nic.name, mtu=nic.mtu, most=groups.mtu)
            continue
        if scene.planned and nic is not None and nic.mtu < wanted:
            yield host.declared("nic-mtu", nic.name, mtu=nic.mtu, cloud=scene.underlay.provider.title, wanted=wanted)


def fabric_name(scene: Scene) -> str:
    """The node of findings about the cloud's network: the emulated one, or the live cloud."""
    return FABRIC if scene.fabric else CLOUD


RULES = (floods, source_check, mtu)
POSSIBLE = (blocked, domain, hops)
