"""Rules of what every host is and does by itself: devices, neighbours and connections, IPsec, what it lets in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.diagnose.codes import declared
from lab.diagnose.parameters import CONNECTIONS, MOST_CONNECTIONS
from lab.diagnose.rules.overlay.extra_tunnels import LAYER3
from lab.diagnose.scene import HostScene, Scene
from lab.model import ALL_HOSTS, MULTICAST, Finding
from lab.overlay import commands
from lab.probes.host_state.membership import groups_of
from lab.probes.host_state.neighbour_tables import LIMIT, FullTable
from lab.tunnels import KINDS

LOOPBACK = "lo"
TIMES = 4  # the room that is proposed where there was none
ELSEWHERE = "  # on the machine that has the kernel of {}"
DROPPED, FULL = "Conntrack:drop", 0.9
END_ROUTER = r"kill $(ss -Hawp | sed -n 's/.*:igmp .*pid=\([0-9]*\).*/\1/p')"
OVERFLOWN = "UdpRcvbufErrors"
STRICT = 1
MOST_GROUPS = 5  # that one line names
EVERYBODYS = {ALL_HOSTS, "224.0.0.106", "224.0.0.251"}  # every host's, every snooping bridge's (RFC 4286), mDNS's
COUNTERS = "Xfrm"  # the prefix of /proc/net/xfrm_stat, where every counter is one of errors (xfrm_proc.rst)
DIRECTIONS = {"in": "XfrmIn", "out": "XfrmOut", "fwd": "XfrmFwd"}
"""The directions of policies, and how the names of their counters begin."""
SHOW = "ip xfrm policy list    # and delete the one that is meant"
STAGES = ("encapsulation", "decapsulation", "sending", "delivery")
STACKED = ("macvlan", "macvtap", "ipvlan", "ipvtap")
PASSTHRU = "passthru"  # the mode of a macvlan that takes everything that arrives


def loopback(host: HostScene) -> Iterator[Finding]:
    """The loopback device is up, by which a host answers itself."""
    device = host.seen.devices.get(LOOPBACK)
    if device is not None and not device.up:
        yield host.declared("loopback-down", LOOPBACK)


def neighbours(scene: Scene) -> Iterator[Finding]:
    """The kernels have room for the neighbours of their hosts."""
    yield from map(no_room, scene.full_tables)


def no_room(table: FullTable) -> Finding:
    """The finding of a table of neighbours that was full."""
    return declared(
        "neighbour-table-full",
        table.node,
        "",
        name=LIMIT,
        limit=table.limit,
        refused=table.refused,
        more=TIMES * table.limit,
        elsewhere="" if table.settable else ELSEWHERE.format(table.node),
    )


def connections(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The kernels have room for the connections that they track."""
    dropped, held, most = host.counted.get(DROPPED, 0), *map(host.parameter, (CONNECTIONS, MOST_CONNECTIONS))
    if dropped and held >= FULL * most:  # with room, the kernel drops what it tracked twice at the same time
        elsewhere = ELSEWHERE.format(host.name) if scene.planned else ""
        more = TIMES * most
        yield host.declared("conntrack-full", "", held=held, most=most, dropped=dropped, more=more, elsewhere=elsewhere)


def directed_broadcast(host: HostScene) -> Iterator[Finding]:
    """A host that hands directed broadcast from its NIC on: anybody who reaches it reaches every spoke (RFC 2644)."""
    # the kernel needs both: that of all interfaces, and that of the receiving one
    for nic in (host.plan.nic, host.plan.device):
        if host.parameter("bc_forwarding", "all") and host.parameter("bc_forwarding", nic):
            yield host.declared("bc-forwarding-on", nic, forwards=host.parameter("net.ipv4.ip_forward"))


def multicast_routing(host: HostScene) -> Iterator[Finding]:
    """A host that routes multicast between the overlay and another device: there it leaves without a tunnel."""
    router = host.multicast_router
    interfaces = {one["device"]: one for one in router.get("interfaces", ())}
    others = [device for device in interfaces if device != host.plan.device]
    if host.plan.device not in interfaces or not others:
        return
    counts = ", ".join(f"{name} {one['in']} packets in, {one['out']} out" for name, one in interfaces.items())
    holders = [f"{name} (process {number})" for number, name in router["processes"]]
    found = f"{', '.join(holders) or 'the process is not visible to this user'}: {counts}"
    yield host.declared("multicast-routed", others[0], found, END_ROUTER if holders else "")


def receive_buffers(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Datagrams that the network delivered and a socket had no room for, during the trial."""
    lost = host.counted.get(OVERFLOWN, 0)
    # other sockets of a live host may overflow meanwhile, which is not the overlay's matter
    if lost > 0 and any(host.name in one.receivers and one.lost(host.name) for one in scene.trial.exchanges):
        yield host.declared("receive-buffer-overflow", "", counter=OVERFLOWN, lost=lost)


def reverse_path(host: HostScene) -> Iterator[Finding]:
    """Nothing of the overlay is dropped by the reverse path filter."""
    dropped = host.counted.get("TcpExtIPReversePathFilter", 0)
    device = host.plan.device
    strict = [name for name in ("all", device, host.plan.nic) if host.parameter("rp_filter", name) == STRICT]
    if not dropped or not strict:
        return
    loose = " ".join(f"net.ipv4.conf.{name}.rp_filter=2" for name in dict.fromkeys(["all", *strict]))
    shown = ", ".join(f"net.ipv4.conf.{name}.rp_filter is {STRICT}" for name in strict)
    yield host.declared("reverse-path-filter", device, dropped=dropped, strict=shown, loose=loose)


def other_members(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """In a lab only the tests are members of groups."""
    if not scene.planned:
        return
    groups = sorted(groups_of(host.igmp).get(host.plan.device, frozenset()) - EVERYBODYS)
    more = f" and {len(groups) - MOST_GROUPS} more" if len(groups) > MOST_GROUPS else ""
    if groups:
        yield host.declared("member-additional", host.plan.device, groups=", ".join(groups[:MOST_GROUPS]) + more)


def device_flags(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The NIC is up; the overlay devices are multicast devices and use ARP."""
    if host.nic is not None and not host.nic.up:
        # what stood on the device went with it
        routed = f" && {commands.default_route(host.plan)}" if scene.planned else ""
        yield host.declared("nic-down", host.nic.name, routed=routed)
    over = host.device
    others = {host.plan.nic, *scene.topology.ports(host.name)}  # which other rules report, as that of a hub's bridge
    if over is not None and not over.up and over.name not in others and all(host is not one for one in scene.bridging):
        yield host.declared("tunnel-down", over.name, routed=f" && {commands.route(scene.topology, host.plan)}")
    for name in (*scene.topology.devices(host.name), *([host.plan.nic] if scene.planned else [])):
        device = host.seen.devices.get(name)
        if device is None or (device.kind in LAYER3 if device.tunnel is None else not device.mac):
            continue  # another rule reports a tunnel of another kind, or without Ethernet
        if device.protodown and device.master is None:  # another rule reports ports
            yield host.declared("device-protodown", name)
        if not device.multicast and (name != host.plan.nic or scene.topology.native):
            yield host.declared("device-not-multicast", name)
        if not device.arp and name in (host.plan.device, host.plan.nic):
            yield host.declared("device-noarp", name)


def policies(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Nothing that was lost at a host was lost to IPsec."""
    risen = {name: count for name, count in host.counted.items() if name.startswith(COUNTERS) and count > 0}
    stages = {loss.stage for loss in scene.losses if loss.node == host.name} & set(STAGES)
    sent = [one for one in scene.trial.exchanges if (one.sender, one.network) == (host.name, "overlay")]
    stages |= {"sending"} if any(exchange.refused for exchange in sent) else set()
    if not risen or not stages:
        return
    carried = stages & {"encapsulation", "decapsulation"}
    found = ", ".join(f"{name} rose by {count}" for name, count in sorted(risen.items()))
    fix = _removing(scene, host, risen, carried=bool(carried)) if scene.planned else SHOW
    yield host.declared("ipsec-drops", host.plan.nic if carried else host.plan.device, found, fix)


def _removing(scene: Scene, host: HostScene, risen: Iterable[str], *, carried: bool) -> str:
    """What removes the policies for tunnel packets, or packets in the tunnel, in the directions whose counters rose."""
    options = scene.topology.options
    protocol = f"udp dport {options.port}" if KINDS[options.kind].port else "gre"
    ip = "ip -6" if KINDS[options.kind].over_ipv6 else "ip"
    directions = [name for name in DIRECTIONS if any(counter.startswith(DIRECTIONS[name]) for counter in risen)]
    own, inside = host.plan.underlay.network, host.plan.overlay.network
    far = dict.fromkeys(other.plan.underlay.network for other in scene.hosts.values() if other is not host)
    selectors = {"out": [f"dst {inside}", f"dst {MULTICAST}"], "in": [f"src {inside}"]}
    if carried:
        selectors["out"] = [f"proto {protocol}", *(f"src {own} dst {network}" for network in far)]
        selectors["in"] = [f"proto {protocol}", *(f"src {network} dst {own}" for network in far)]
    removed = [(name, selector) for name in directions for selector in selectors.get(name, [])]
    return " ; ".join(f"{ip} xfrm policy deleteall dir {name} {selector}" for name, selector in removed) or SHOW


def upper(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """A device on top of the overlay's, where the host takes what arrives twice or not at all."""
    twice = any(one.network == "overlay" and one.repeated(host.name) for one in scene.trial.exchanges)
    for device in host.seen.devices.values():
        if device.kind not in STACKED or device.lower not in (host.plan.device, host.plan.nic):
            continue
        effect = ": datagrams arrive twice" if twice and device.up and device.lower == host.plan.device else ""
        if device.details.get("mode") == PASSTHRU:
            effect = f", mode passthru: it takes all packets of {device.lower}, also ARP replies that the host needs"
        if effect:
            yield host.declared("device-on-top", device.name, kind=device.kind, lower=device.lower, effect=effect)


def enslaved(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """
    Neither a spoke's tunnel nor a NIC with the host's address has a master: it would get all that arrives.

    What is in a VRF, sockets of no VRF and tunnels outside do not see.
    """
    plan = host.plan
    for name in dict.fromkeys((plan.device, plan.nic)):
        master, tunnel = host.seen.master_of(name), name == plan.device
        if master is None or (master.name == scene.topology.bridge and plan.is_hub):
            continue  # a port of the overlay's own bridge is another rule's
        # what a device may have lost with its master's coming and going
        if in_vrf(host, name):
            outside = [commands.default_route(plan)] if scene.planned else []
            again = outside if name == plan.nic else [commands.route(scene.topology, plan)]
            fix = " && ".join([f"ip link set {name} nomaster", *again])
            yield host.declared("device-in-vrf", name, f"its master is the VRF {master.name}", fix)
        elif tunnel or scene.planned:
            placed = commands.placed(scene.topology, plan) if tunnel else commands.placed_outside(plan)
            code = "spoke-tunnel-bridged" if tunnel and master.kind == "bridge" else "device-enslaved"
            yield host.declared(code, name, master=master.name, kind=master.kind, again=placed)


def in_vrf(host: HostScene, name: str) -> bool:
    """Whether a device of a host is in a VRF."""
    master = host.seen.master_of(name)
    return master is not None and master.kind == "vrf"
