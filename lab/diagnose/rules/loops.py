"""Rules of loops: bridges that are joined by more than one path, without spanning tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.overlay.readback import Device


class BridgedEnd(NamedTuple):
    """One end of a tunnel that is a port of a bridge."""

    host: HostScene
    device: Device

    @property
    def bridge(self) -> tuple[str, str]:
        return self.host.name, str(self.device.master)

    def __str__(self) -> str:
        return f"{self.host.name} {self.device.name} (port of {self.device.master})"


def loops(scene: Scene) -> Iterator[Finding]:
    """A tunnel between two bridges that are joined without it: what is broadcast goes round for ever."""
    joined: dict[tuple[str, str], tuple[str, str]] = {}
    for near, far in sorted(_links(scene), key=lambda ends: not all(_planned(scene, end) for end in ends)):
        one, other = _root(joined, near.bridge), _root(joined, far.bridge)
        if one != other:
            joined[one] = other
        elif not (_runs_stp(near) or _runs_stp(far)):
            name, found = near.device.name, f"{near} to {far}, both without STP; {_copies(scene)}"
            summary = f"{near.host.name} {name} closes a loop: {far.host.name} is reachable without it, too"
            yield near.host.finding("loop", name, summary, found, f"ip link del {name}")


def _links(scene: Scene) -> Iterator[tuple[BridgedEnd, BridgedEnd]]:
    """The tunnels whose both ends are up and ports of a bridge, each once."""
    ends = [
        BridgedEnd(host, device)
        for host in scene.hosts.values()
        for device in host.seen.devices.values()
        if device.tunnel is not None
        and device.tunnel.remote
        and device.up
        and device.port is not None
        and not device.flag("isolated")  # such ports forward nothing to each other
    ]
    for position, near in enumerate(ends):
        for far in ends[position + 1 :]:
            if _meet(near, far):
                yield near, far


def _meet(near: BridgedEnd, far: BridgedEnd) -> bool:
    here, there = near.device.tunnel, far.device.tunnel
    if here is None or there is None or (here.kind, here.vni) != (there.kind, there.vni):
        return False
    addressed = (here.remote, there.remote) == (far.host.plan.endpoint, near.host.plan.endpoint)
    return addressed and here.output_key == there.input_key


def _planned(scene: Scene, end: BridgedEnd) -> bool:
    return end.device.name in scene.topology.ports(end.host.name)


def _root(joined: dict[tuple[str, str], tuple[str, str]], bridge: tuple[str, str]) -> tuple[str, str]:
    while bridge in joined:
        bridge = joined[bridge]
    return bridge


def _runs_stp(end: BridgedEnd) -> bool:
    bridge = end.host.seen.devices.get(str(end.device.master))
    return bridge is not None and bool(bridge.details.get("stp_state"))


def _copies(scene: Scene) -> str:
    most = max(
        (count for one in scene.trial.exchanges for name in one.receivers for count in one.copies(name).values()),
        default=0,
    )
    return f"a datagram of the trial was received up to {most} times"


RULES = (loops,)
