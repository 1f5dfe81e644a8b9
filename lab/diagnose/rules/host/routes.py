"""Rules of routing: multicast to the overlay, the overlay not to itself, and nothing in between."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from lab.diagnose.rules.host.basics import in_vrf
from lab.diagnose.scene import HostScene, Scene
from lab.model import MULTICAST, Finding
from lab.overlay import commands
from lab.stack.records import Route

GROUPS = ("224.1.1.1", "232.1.1.1", "239.195.255.255")  # one of each part that people use (RFC 5771)


def multicast(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Every host routes the whole multicast range to its overlay device."""
    if host.device is None or not host.device.up or in_vrf(host, host.plan.device):
        return
    device = host.plan.device
    tried = dict.fromkeys([*GROUPS, *(exchange.to for exchange in scene.trial.of("group"))])
    astray = [group for group in tried if not _to_groups(host.seen.route_to(group), device)]
    if not astray:
        route = host.seen.route_to(GROUPS[0])
        if route is not None and route.src not in (None, host.plan.address()):
            yield host.declared("multicast-source-foreign", device, to=route.to, source=route.src)
        return
    own = [route.to for route in host.seen.routes if route.dev == device and route.to.subnet_of(MULTICAST)]
    if not own and host.plan.overlay.ip not in (one.ip for one in host.seen.addresses_of(device)):
        return  # it went with the last address, and comes back with it (`addresses`)
    taken = host.seen.route_to(astray[0])
    if taken is not None and taken.to.subnet_of(MULTICAST):
        others = [one for one in host.seen.routes if one.to.subnet_of(MULTICAST) and not _to_groups(one, device)]
        again = " ; ".join([*map(_delete, others), commands.route(scene.topology, host.plan)])
        at, said = taken.dev or device, _words(taken)
        yield host.declared("multicast-route-elsewhere", at, fix=again, route=said, group=astray[0])
    else:
        found = f"ip route get {astray[0]}: {f'dev {taken.dev}' if taken else 'unreachable'}"
        code = "multicast-route-narrow" if own else "multicast-route-missing"
        yield host.declared(code, device, found, groups=MULTICAST)


def _to_groups(route: Route | None, device: str) -> bool:
    """Whether what is sent to a group goes out of the device as multicast: a gateway gets it alone, as unicast."""
    if route is None or route.type not in ("unicast", "multicast") or route.dev != device:
        return False
    # a default route serves for groups, without its gateway (net/ipv4/route.c)
    return route.via is None or route.to.prefixlen < MULTICAST.prefixlen


def overlay(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Every host reaches the others' overlay addresses by its overlay device."""
    if host.device is None or not host.device.up or in_vrf(host, host.plan.device):
        return
    if host.plan.overlay not in host.seen.addresses_of(host.plan.device):
        return  # the route comes with the address and its prefix: `addresses.overlay_address`
    reported: set[object] = set()
    for other in scene.hosts.values():
        if other is host or any(address.ip == other.plan.overlay.ip for _, address in host.seen.addresses):
            continue
        route = host.seen.route_to(other.plan.address())
        key = (route.to, route.dev, route.type) if route else None
        by_itself = route is not None and (route.dev, route.type, route.via) == (host.plan.device, "unicast", None)
        network, goes = host.plan.overlay.network, route is not None and _goes_with_address(host, route)
        left = goes and any((one.to, one.dev) == (network, host.plan.device) for one in host.seen.routes)
        if by_itself or key in reported or left:
            continue
        reported.add(key)
        again = f"ip route replace {network} dev {host.plan.device} src {host.plan.address()}"
        # a route to less than the overlay, or another one to it, has to go
        narrower = route is not None and not goes and route.to.prefixlen >= network.prefixlen
        steps = [*([_delete(route)] if route and narrower else [])]
        steps += [again] if not narrower or (route and route.to == network) else []
        to = f"for {other.name} ({other.plan.address()})"
        found = f"the route {to} is {_words(route)}" if route else f"there is no route {to}"
        yield host.declared("overlay-route-elsewhere", host.plan.device, found, " ; ".join(steps))


def _goes_with_address(host: HostScene, route: Route) -> bool:
    """Whether an address that overlaps the overlay, which another rule removes, takes a route with it."""
    there = host.seen.addresses_of(route.dev or "")
    overlapping = [one.network for one in there if one.network.overlaps(host.plan.overlay.network)]
    connected = route.proto == "kernel" and route.to in overlapping
    return route.dev != host.plan.device and (connected or len(overlapping) == len(there) > 0)


def underlay(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The way to a tunnel's remote does not lead through a tunnel, nor by a gateway where it is a neighbour."""
    nic = host.nic
    if scene.topology.native or (nic is None and scene.planned):
        return
    if nic is not None and (not nic.up or in_vrf(host, nic.name)):
        return  # which another rule reports
    if scene.planned and host.plan.underlay.ip not in (one.ip for _, one in host.seen.addresses):
        return  # the routes went with it, and come back with it (`addresses`)
    for other in scene.hosts.values():
        remotes = (other.plan.address("underlay"), other.plan.endpoint) if other is not host else ()
        for remote in dict.fromkeys(remotes):
            yield from _to_remote(scene, host, other, remote)


def _to_remote(scene: Scene, host: HostScene, other: HostScene, remote: str) -> Iterator[Finding]:
    overlays, network = scene.topology.devices(host.name), host.plan.underlay.network
    connected = f"{network} dev {host.plan.nic} src {host.plan.address('underlay')}"
    if ":" in remote and host.plan.underlay6:
        connected = f"{host.plan.underlay6.network} dev {host.plan.nic}"
    route = host.seen.route_to(remote)
    gateway = None if other.plan.underlay.ip in network else str(network.network_address + 1)
    cut = gateway is None and other.name in scene.cut_off(host)  # of live hosts, a gateway is meant if packets pass
    tunnelled = other.name in scene.topology.peers(host.name)
    if not tunnelled and (route is None or route.type != "unicast" or route.dev in overlays):
        return  # spokes need no way to each other but the hub
    if route is None or route.type != "unicast":
        found = (f"{route.type} {route.dst}" if route else "no route") + f" for {remote} ({other.name})"
        fix = _delete(route) if route else f"ip route replace {connected}"
        yield host.declared("underlay-route-missing", host.plan.nic, found, fix)
    elif route.dev in overlays:
        yield host.declared("recursive-routing", str(route.dev), fix=_delete(route), route=_words(route), remote=remote)
    elif not (scene.planned or (cut and route.via)) or ":" in remote:
        return
    elif (route.dev, route.via) != (host.plan.nic, gateway):
        direct = [one for one in host.seen.routes if (one.to, one.dev) == (network, host.plan.nic)]
        taken = route.prefixlen > network.prefixlen or (route not in direct and direct)
        by = f"via {gateway}" if gateway else "without a gateway"
        found = f"the route to {other.name} is {_words(route)}{_lower(host, route)}; expected dev {host.plan.nic}, {by}"
        fix = _delete(route) if taken else f"ip route replace {connected}"
        fix = fix if route.prefixlen or not gateway else commands.default_route(host.plan)
        yield host.declared("underlay-detour", str(route.dev), found, fix)


def narrow(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """No route of the overlay, or to the other end of a tunnel, allows less than its device."""
    plan = host.plan
    ends = [IPv4Network(other.plan.address("underlay")) for other in scene.hosts.values() if other is not host]
    own = {plan.overlay.network: plan.address(), plan.underlay.network: plan.address("underlay")}
    for route in host.seen.routes:
        device = host.seen.devices.get(route.dev or "")
        if device is None or not route.mtu or route.mtu >= device.mtu or not route.to.prefixlen:
            continue
        to_an_end = device.name == plan.nic and any(end.subnet_of(route.to) for end in ends)
        if device.name != plan.device and not to_an_end:
            continue
        source = f" src {own[route.to]}" if route.to in own else ""
        wanted = route.to in own or route.to == scene.topology.multicast_route
        fix = f"ip route replace {route.to} dev {device.name}{source}" if wanted else _delete(route)
        yield host.declared("route-mtu", device.name, fix=fix, to=route.to, mtu=route.mtu, most=device.mtu)


def default(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The default route does not lead into the overlay."""
    if scene.topology.native:
        return
    route = host.seen.default_route
    if route is not None and route.dev == host.plan.device:
        again = f"{_delete(route)} && {commands.default_route(host.plan)}"
        yield host.declared("default-by-overlay", route.dev, fix=again)


def _words(route: Route) -> str:
    """A route, and the device that its next hop object leads to."""
    return f"{route.selectors} (dev {route.dev})" if route.nhid and route.dev else route.selectors


def _lower(host: HostScene, route: Route) -> str:
    """The device below a route's device, which the packets also leave by."""
    device = host.seen.devices.get(route.dev or "")
    if device is None or not device.lower:
        return ""
    return (
        f" (a veth to {device.lower}, where its packets arrive)"
        if device.kind == "veth"
        else f" ({device.kind} on {device.lower})"
    )


def _delete(route: Route) -> str:
    return f"ip route del {route.selectors}"
