"""Rules of the tunnels: ends that are missing, down, called otherwise, or do not agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from lab.diagnose.scene import HostScene, Scene
from lab.diagnose.trial import CONTROL_TTL
from lab.model import Finding, Topology
from lab.overlay import commands
from lab.overlay.recognition.incomplete import in_other_namespace
from lab.overlay.recognition.readback import Device
from lab.topology.graph import Tunnel
from lab.tunnels import KINDS
from lab.tunnels.kind import DF, TunnelEnd

BARE = {"inner_proto_inherit": "innerprotoinherit", "gpe": "gpe"}
"""Options by which a tunnel carries IP packets without Ethernet, and their words (ip-link(8))."""


def _key(end: TunnelEnd) -> str:
    if end.input_key == end.output_key:
        return "no key" if end.input_key is None else f"key {end.input_key}"
    return f"ikey {end.input_key} okey {end.output_key}"


# what both ends must agree on: the code's beginning, and an end's value as text
COMPARED: tuple[tuple[str, Callable[[TunnelEnd], str]], ...] = (
    ("tunnel-key", _key),
    ("tunnel-checksum", lambda end: "csum" if any(end.checksum) else "no csum"),
    ("tunnel-sequence", lambda end: "seq" if any(end.sequence) else "no seq"),
    ("tunnel-vni", lambda end: f"id {end.vni}"),
    ("tunnel-port", lambda end: f"dstport {end.port}"),
    ("tunnel-ttl", lambda end: f"ttl {end.ttl or 'inherit'}"),
    ("tunnel-tos", lambda end: "tos inherit" if end.tos_inherit else f"tos {end.tos:#x}"),
    ("tunnel-pmtudisc", lambda end: "pmtudisc" if end.pmtudisc else "nopmtudisc"),
    ("tunnel-df", lambda end: f"df {DF[end.df]}"),
)


def missing_or_down(scene: Scene) -> Iterator[Finding]:
    """An end that is not there, or is there and down."""
    for host, far in scene.ends():
        name = scene.topology.port(host.name, far.name)
        device = scene.end(host, far.name)
        other = renamed(scene, host, far)
        if other is not None:
            remote, routed = far.plan.endpoint, _routed(scene, host)
            yield host.declared("tunnel-renamed", name, other=other.name, remote=remote, routed=routed)
        elif device is None or device.tunnel is None:
            yield _missing(scene, host, far, name)
        elif not device.up and not (host.plan.holder == "bond" and device.master is None):  # `two_hubs` names that
            yield host.declared("tunnel-down", name, routed=_routed(scene, host))


def _missing(scene: Scene, host: HostScene, far: HostScene, name: str) -> Finding:
    """No tunnel, a device of another kind by its name, or a tunnel that carries no Ethernet."""
    device = host.seen.devices.get(name)
    if device is None:
        found, again = host.inventory, commands.tunnel(scene.topology, host.plan, far.name)
    else:
        again = commands.again(scene.topology, host.plan, far.name, device)
        for option in (BARE[one] for one in BARE if device.tunnel and device.details.get(one)):
            return host.declared("tunnel-without-ethernet", name, fix=again, kind=device.kind, option=option)
        found = f"{name} is of another kind, {device.kind}"
    missing = host.finding("tunnel-missing", name, f"{host.name} has no tunnel to {far.name}", found, again)
    return in_other_namespace(missing, scene.elsewhere.get(host.name, ()))


def _routed(scene: Scene, host: HostScene) -> str:
    """Behind a command that brings a tunnel up: a device that went down has lost its static routes."""
    return "" if host.plan.is_hub else f" && {commands.route(scene.topology, host.plan)}"


def renamed(scene: Scene, host: HostScene, far: HostScene) -> Device | None:
    """The tunnel to the other host where the one of the planned name is not there at all."""
    if scene.topology.port(host.name, far.name) in host.seen.devices:
        return None
    number = scene.topology.tunnel(host.name, far.name).number if host.plan.holder == "mesh" else None
    leading = [
        device
        for device in host.seen.devices.values()
        if device.tunnel
        and (device.remote == far.plan.endpoint or (number and not device.remote and device.vni == number))
    ]
    return leading[0] if len(leading) == 1 and leading[0].kind == scene.topology.options.kind else None


def endpoints(scene: Scene) -> Iterator[Finding]:
    """An end that starts or leads where the other one is not."""
    for host, far, device, tunnel in scene.made_ends():
        far_address = far.plan.endpoint
        route, again = host.seen.route_to(far_address), commands.again(scene.topology, host.plan, far.name, device)
        if far_address not in host.seen.remotes(device.name) and host.plan.holder != "mesh":
            remote = tunnel.remote or "none of its own (external)"
            # the kernel makes no second tunnel to one remote
            taken = any(one.remote == far_address for one in host.seen.tunnels())
            fix = _all_again(scene, host) if taken else again
            yield host.declared("tunnel-remote-mismatch", device.name, fix=fix, remote=remote, far=far.plan)
        if tunnel.link not in (None, host.plan.nic):
            yield host.declared("tunnel-device-mismatch", device.name, fix=again, link=tunnel.link)
        # without a local address it has the one that the routing table gives it
        local = tunnel.local or (route.src if route else None)
        if local not in (None, host.plan.endpoint):
            by = "" if tunnel.local else " (by the routing table)"
            yield host.declared("tunnel-local-mismatch", device.name, fix=again, local=local, by=by, far=far.name)


def _all_again(scene: Scene, host: HostScene) -> str:
    """Creates the host's ends of all tunnels of the overlay again, after they are all gone."""
    gone = [f"ip link del {name}" for name in scene.topology.ports(host.name) if name in host.seen.devices]
    made = [commands.tunnel(scene.topology, host.plan, peer) for peer in scene.topology.peers(host.name)]
    return " && ".join([*gone, *made])


def parameters(scene: Scene) -> Iterator[Finding]:
    """An end whose parameters are not the other one's, or not those that were planned."""
    for host, far, device, tunnel in scene.made_ends():
        other, mesh = scene.end(far, host.name), host.plan.holder == "mesh"
        if other is None or other.tunnel is None or not (mesh or far.seen.remotes(other.name)):
            continue
        if not mesh and far.plan.endpoint not in host.seen.remotes(device.name):
            continue  # an end that leads elsewhere is made again anyway
        planned = _planned(scene.topology, scene.topology.tunnel(host.name, far.name), tunnel)
        for beginning, said in COMPARED:
            here, there = said(tunnel), said(other.tunnel)
            if here == said(planned) or (beginning == "tunnel-ttl" and (tunnel.ttl or 0) <= scene.trial.spent > 0):
                continue  # `hops` reports a TTL that is too low
            if here == there and not scene.planned:
                continue  # what was planned for live hosts is not known
            code = f"{beginning}-not-as-planned" if here == there else f"{beginning}-mismatch"
            found = f"{here} on this end, {there} on {far.name} {other.name}"
            found += f"; expected {said(planned)}" if here == there else ""
            yield host.declared(code, device.name, found, commands.again(scene.topology, host.plan, far.name, device))


def _planned(topology: Topology, tunnel: Tunnel, found: TunnelEnd) -> TunnelEnd:
    """An end as the topology has it."""
    options = topology.options
    numbered = KINDS[options.kind].port is not None
    return replace(
        found,
        ttl=options.ttl,
        tos_inherit=options.tos_inherit,
        tos=options.tos,
        input_key=options.key,
        output_key=options.key,
        checksum=(options.checksum, options.checksum),
        sequence=(options.sequence, options.sequence),
        pmtudisc=options.pmtudisc,
        df=options.df,
        vni=tunnel.number if numbered else found.vni,
        port=options.port if numbered else found.port,
    )


def hops(scene: Scene) -> Iterator[Finding]:
    """An outer TTL that does not outlive the routers of the underlay."""
    spent = scene.trial.spent
    if not spent:
        return
    for host, far, device, tunnel in scene.made_ends():
        if (tunnel.ttl or 0) > spent:
            continue
        too_low = "tunnel-ttl-inherit" if tunnel.ttl is None else "tunnel-ttl-too-low"
        fix = _with_a_ttl(scene, host, device, far.name)
        yield host.declared(too_low, device.name, fix=fix, ttl=tunnel.ttl or "inherit", spent=spent)


def _with_a_ttl(scene: Scene, host: HostScene, device: Device, peer: str) -> str:
    if not KINDS[device.kind].keeps_inheriting:
        return f"ip link set {device.name} type {device.kind} ttl {CONTROL_TTL}"
    options = replace(scene.topology.options, ttl=CONTROL_TTL)
    return commands.again(replace(scene.topology, options=options), host.plan, peer, device)
