"""
Which live host is the hub: recognised by what is set up on it, a bridge whose ports are tunnels.

Where the hosts have another shape than a star (`overlay.shapes`), that determines which hosts are hubs, if any.

    specs, connected, note = roles.recognised(specs, connected)

If the hosts' state is ambiguous, the first host that the user named is the hub, and `note` states it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lab.machines.base import Machine
from lab.machines.live.hosts import HostSpec
from lab.machines.live.ssh import Connected
from lab.machines.node import Observed
from lab.overlay.recognition import readback, several_overlays, shapes, spares
from lab.overlay.recognition.readback import ConfiguredNode

NO_TUNNEL = (0, 0)
WARNED = {shapes.SPANNING: "; the loss of a hub stops all delivery for seconds: use a bond or PRP (docs/designs.md)"}
LEAST_PEERS = 2  # hosts that the tunnels of a hub without a bridge lead to; a spoke's lead to one


@dataclass(frozen=True)
class Recognised:
    """
    The hosts with their roles, the hub first, if there is one.

    `note` is empty where the hub is the host that was named first.  `sure` False: more than one host could be the hub.
    """

    specs: tuple[HostSpec, ...]
    connected: Connected
    note: str = ""
    sure: bool = True


def recognised(
    specs: Sequence[HostSpec], connected: Connected, hubs: int = 1, overlay: str | None = None
) -> Recognised:
    """
    Finds the hub among the hosts that were reached; the other hosts are spokes, in the order of their names.

    `hubs` is how many there are to be where no host has a tunnel; `overlay`: the one that was chosen of several.
    """
    nodes = [Observed.home(role, machine) for role, machine in connected.machines.items()]
    named = tuple(specs)
    read = several_overlays.chosen(readback.read(nodes), overlay)
    if shape := shapes.recognise(read):
        first = sorted((spec for spec in specs if spec.role in shape.hubs), key=lambda one: shape.hubs.index(one.role))
        names = " and ".join(spec.destination for spec in first)
        note = f"the hosts are a {shape.name}: " + (f"{names} are the hubs" if first else "none of them is a hub")
        note += WARNED.get(shape.name, "")
        return _reordered(_first(first, specs), connected, note, hubs=len(first))
    if (spare := spares.found(read)) and not spare.why:
        by_role = {spec.role: spec for spec in specs}
        hub, standby = by_role[spare.hub], replace(by_role[spare.standby], standby=True)
        others = [spec for spec in specs if spec.role not in (spare.hub, spare.standby)]
        note = f"{hub.destination} is the hub, {standby.destination} its standby ({spare.fact})"
        return _reordered([hub, *others, standby], connected, note)
    scores = {role: _score(seen) for role, seen in read.items()}
    best = max(scores.values(), default=(0, 0))
    candidates = [spec for spec in specs if scores.get(spec.role) == best]
    if best == NO_TUNNEL:
        return assigned(specs, connected, hubs)
    if len(candidates) > 1 or best < (0, LEAST_PEERS):
        names = ", ".join(spec.destination for spec in candidates)
        note = f"{specs[0].destination} is taken as the hub, since --hosts names it first; {_fact(best)} ({names})"
        return Recognised(named, connected, note, sure=False)
    (hub,) = candidates
    if hub.position == 0:
        return Recognised(named, connected)
    note = f"{hub.destination} is the hub ({_fact(best)}); --hosts names {specs[0].destination} first"
    return _reordered(_first([hub], specs), connected, note)


def assigned(specs: Sequence[HostSpec], connected: Connected, hubs: int, standby: bool = False) -> Recognised:
    """The hosts in the order of their names: so many of them as hubs, and the next one as the hub's standby, if any."""
    first, rest = [*specs[:hubs]], [*specs[hubs:]]
    spare = [replace(rest.pop(0), standby=True)] if standby else []
    return _reordered([*first, *rest, *spare], connected, "", hubs)


def _first(hubs: Sequence[HostSpec], specs: Sequence[HostSpec]) -> list[HostSpec]:
    return [*hubs, *(spec for spec in specs if spec not in hubs)]


def _score(seen: ConfiguredNode) -> tuple[int, int]:
    """How many tunnels are ports of the host's bridges, and to how many other hosts its tunnels lead."""
    tunnels = seen.tunnels()
    bridged = [device for device in tunnels if device.master and seen.devices[device.master].kind == "bridge"]
    remotes = {device.remote for device in tunnels if device.remote}
    return len(bridged), len(remotes)


def _fact(score: tuple[int, int]) -> str:
    bridged, peers = score
    ports = f"{bridged} tunnel{'s are ports' if bridged > 1 else ' is a port'} of its bridge"
    return ports if bridged else f"no tunnel is a port of a bridge, remotes: {peers}"


def _reordered(order: Sequence[HostSpec], connected: Connected, note: str, hubs: int = 1) -> Recognised:
    now = tuple(replace(spec, position=position, hubs=hubs) for position, spec in enumerate(order))
    machines: dict[str, Machine] = {}
    for before, spec in zip(order, now, strict=True):
        role = replace(before, standby=False).role
        if role in connected.machines:
            machines[spec.role] = connected.machines[role]
            machines[spec.role].name = spec.label
    return Recognised(now, Connected(machines, connected.failures), note)
