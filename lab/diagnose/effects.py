"""
What a finding can lose: which packets, at which stage, at which place; nothing else is explained by it.

A code that is in no table may lose any packet at the leg on which its host, or its tunnel, is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from lab.diagnose.legs import Loss
from lab.diagnose.scene import Scene
from lab.graph import Tunnel
from lab.model import Finding
from lab.probes.patience import Kind, Way
from lab.probes.ways import Stage
from lab.underlay.fabric import FABRIC

LETTING_THROUGH = frozenset({"source-check-off", "underlay-floods", "fabric-floods"})
NOTHING = LETTING_THROUGH | {
    "bridge-mac-not-pinned",
    "broadcast-ping-ignored",
    "cluster-filtered",
    "dhcp-filtered",
    "fallback-tunnel-up",
    "icmp-limited",
    "icmpv6-filtered",
    "igmp-version-forced",
    "ipv6-disabled",
    "ipv6-multicast-ping-ignored",
    "ipv6-ping-ignored",
    "ipv6-unanswered",
    "learning-off",
    "mdns-filtered",
    "mld-version-forced",
    "mtu-below-1280",
    "ping-ignored",
    "reserved-forwarded",
    "tos-rewritten",
    "tunnel-tos-mismatch",
    "tunnel-tos-not-as-planned",
    "vrrp-filtered",
}
"""No datagram is lost by these, or none of those that a trial sends."""
PINGS = frozenset({"broadcast-ping-ignored", "icmp-limited", "ping-ignored"})
"""Of these: what keeps hosts from answering pings."""
GROUPS = frozenset(
    {
        "group-table-small",
        "igmp-filtered",
        "member-not-in-mdb",
        "memberships-expire",
        "memberships-limited",
        "multicast-route-elsewhere",
        "multicast-route-missing",
        "multicast-route-narrow",
        "multicast-source-foreign",
        "querier-elsewhere",
        "querier-unplanned",
        "queries-filtered",
        "router-port",
        "snooping-off",
    }
)
"""These concern what is sent to groups."""
WHEREVER_IT_ARRIVES = frozenset({"multicast-source-foreign"})
"""These are wrong with what their host sends, and lose it where it is received."""
OF_SENDER = WHEREVER_IT_ARRIVES | {
    "device-noarp",
    "duplicate-address",
    "duplicate-mac",
    "multicast-route-elsewhere",
    "neighbour-wrong",
    "overlay-source-foreign",
    "prefix-mismatch",
    "ttl-rewritten",
    "tunnel-remote-mismatch",
}
"""These lose what their host sends anywhere on its path."""
PASSED_ON = frozenset({"nat-rewrites", "vlan-filtering"})
"""These change what passes their host, which is lost there or at any later place."""
ANYWHERE = frozenset(
    {
        "attached-twice",
        "duplicate-address",
        "duplicate-mac",
        "fdb-static-wrong",
        "hairpin-on",
        "hubs-joined",
        "loop",
        "spokes-meshed",
    }
)
"""These also lead unicast of any host astray: it is lost where it does not belong."""
REPEATING = frozenset(
    {"attached-twice", "hubs-joined", "loop", "port-not-isolated", "prp-mac-mismatch", "spokes-meshed"}
)
"""These bring packets twice, wherever they come from and go to."""
OF_THE_KERNEL = frozenset({"neighbour-table-full"})
"""These are wrong with a kernel that other hosts may share: any packet is lost by them, wherever it is."""
DELAYING = frozenset({"traffic-impaired"})
"""These also deliver late what a trial no longer waits for at the receiver."""
IN_THE_CLOUD = frozenset(
    {"default-ttl-low", "tunnel-ttl-inherit", "tunnel-ttl-mismatch", "tunnel-ttl-not-as-planned", "tunnel-ttl-too-low"}
)
"""These lose packets between hosts, at a router that is no node of the overlay."""
ON_A_TUNNEL: tuple[Stage, ...] = ("encapsulation", "cloud", "decapsulation")
INSIDE: tuple[Stage, ...] = ("sending", "forwarding", "delivery")
ASTRAY = ("attached-twice", "fdb-static-wrong", "hairpin-on", "hubs-joined", "proxy-arp", "spokes-meshed")
"""These send unicast to the wrong port, and lose nothing else."""
STAGES: Mapping[str, tuple[Stage, ...]] = {
    **dict.fromkeys(IN_THE_CLOUD, ("cloud",)),
    **dict.fromkeys(ASTRAY, INSIDE),
    "bc-forwarding-on": ("delivery",),
    "bridge-down": INSIDE,
    "bridge-missing": (*INSIDE, "decapsulation"),
    "bridged-dropped": ("forwarding",),
    "broadcast-not-flooded": ("forwarding",),
    "congestion-marked": ("decapsulation",),
    "carrier-dropped": ("encapsulation", "decapsulation"),
    "default-by-overlay": ("sending",),
    "duplicate-address": INSIDE,
    "duplicate-mac": (*INSIDE, "decapsulation"),
    "firewall-drops": ("sending", "encapsulation", "decapsulation", "forwarding", "delivery"),
    "gre-blocked": ("cloud",),
    "hub-address-missing": INSIDE,
    "member-not-in-mdb": ("forwarding",),
    "multicast-not-flooded": ("forwarding",),
    "multicast-route-missing": ("sending",),
    "multicast-route-narrow": ("sending",),
    "network-overlaps": ("sending", "delivery"),
    "overlay-address-missing": INSIDE,
    "overlay-address-scope": INSIDE,
    "overlay-route-elsewhere": ("sending", "delivery"),
    "port-isolated": ("forwarding",),
    "port-locked": ("forwarding",),
    "port-not-bridged": ("forwarding",),
    **dict.fromkeys(("port-not-isolated", "prp-mac-mismatch"), ()),  # they repeat
    "prefix-mismatch": INSIDE,
    "receive-buffer-overflow": ("delivery",),
    "reverse-path-filter": ("decapsulation", "delivery"),
    "reverse-path-rule": ("decapsulation", "delivery"),
    "router-port": ("forwarding",),
    "snooping-off": ("forwarding",),
    "stateful-only": ON_A_TUNNEL,
    "stp-on": ("forwarding",),
    "ttl-rewritten": ("cloud", "delivery"),
    "tunnel-elsewhere": (*INSIDE, "decapsulation"),
    "tunnel-missing": (*INSIDE, "decapsulation"),
    "underlay-detour": ON_A_TUNNEL,
    "unicast-not-flooded": ("forwarding",),
    "vxlan-blocked": ("cloud",),
    "xdp-drops": ON_A_TUNNEL,
}
"""The only stages of a packet's way at which these lose it."""
KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(ASTRAY, ("unicast",)),
    "arp-filtered": ("unicast",),
    "arp-suppressed": ("unicast",),
    "arp-unanswered": ("unicast",),
    "arp-unasked": ("unicast",),
    "mtu-mismatch": ("full-size broadcast", "fragmented broadcast"),
    "neighbour-wrong": ("unicast",),
    "nic-mtu": ("full-size broadcast", "fragmented broadcast"),
    "overlay-route-elsewhere": ("unicast", "broadcast"),
    "path-mtu-black-hole": ("full-size broadcast", "fragmented broadcast"),
    "pmtu-icmp-filtered": ("full-size broadcast", "fragmented broadcast"),
    "reassembly-limited": ("full-size broadcast", "fragmented broadcast"),
    "route-mtu": ("full-size broadcast", "fragmented broadcast"),
    "unicast-not-flooded": ("unicast",),
}
"""The only kinds of exchanges that these lose."""
OF_NEIGHBOURS = frozenset({"arp-filtered", "arp-unanswered", "arp-unasked", "neighbour-wrong"})
"""At a NIC these lose tunnel packets, whatever is in them."""
FRAGMENTED = "fragmented broadcast"
ALIKE: tuple[Kind, ...] = ("unicast", "broadcast", "multicast", "membership")
"""Kinds of packets that are lost alike where packets are lost by chance."""


def can_lose(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether what a finding names can lose a packet of this kind, at this stage and in this place."""
    code, kind = finding.code, loss.exchange.kind
    host = scene.hosts.get(finding.node)
    outer = code in OF_NEIGHBOURS and host is not None and finding.interface == host.plan.nic
    if code in NOTHING or (kind not in KINDS.get(code, (kind,)) and not outer):
        return False
    if _takes_carrier(scene, finding, loss) or _loses_fragments(scene, finding, loss):
        return True
    if loss.stage not in STAGES.get(code, (loss.stage,)) and not loss.unresolved:
        return False
    if code == "default-ttl-low" and not scene.spends_ttl_of(scene.hosts[finding.node]):
        return False
    if code in IN_THE_CLOUD and not scene.trial.spent:
        return False
    if code in GROUPS and not _is_of_groups(loss, scene.losses):
        return False
    return _is_at(scene, finding, loss)


def lossy(scene: Scene, findings: Sequence[Finding]) -> Iterator[Way]:
    """The ways on which some packets are lost by a finding: at any time by chance, of any kind that it can lose."""
    for loss in scene.losses:
        for finding in findings if not loss.whole and loss.exchange.kind in ALIKE else ():
            if finding.code in GROUPS or not can_lose(scene, finding, loss):
                continue
            for kind in ALIKE:
                if kind in KINDS.get(finding.code, ALIKE):
                    yield Way("overlay", kind, loss.exchange.sender, loss.receiver)


def _loses_fragments(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether a datagram whose first fragment arrived lacks another: what loses other packets on its way loses that."""
    if loss.exchange.kind != FRAGMENTED or loss.stage != "delivery":
        return False
    ends = loss.exchange.sender, loss.receiver
    others = [one for one in scene.losses if (one.exchange.sender, one.receiver) == ends]
    return any(one.exchange.kind != FRAGMENTED and can_lose(scene, finding, one) for one in others)


def _is_of_groups(loss: Loss, losses: Collection[Loss]) -> bool:
    """Whether a group's datagram is lost where broadcast is not: what loses both has another cause."""
    alike = {(one.exchange.sender, one.receiver, one.missing) for one in losses if one.exchange.kind == "broadcast"}
    is_group = loss.exchange.kind in ("multicast", "group")
    return is_group and (loss.exchange.sender, loss.receiver, loss.missing) not in alike


def _is_at(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether a finding is on the leg on which a packet was lost, or may lose it from elsewhere."""
    node, interface, sender = finding.node, finding.interface, loss.exchange.sender
    if finding.code in OF_THE_KERNEL:
        return True
    if finding.code in ANYWHERE and loss.exchange.kind == "unicast":
        return True
    if finding.code in OF_SENDER and node == sender:
        return True
    if finding.code in PASSED_ON and node in scene.on_paths(sender, loss.receiver) - {loss.receiver}:
        return True
    if finding.code in WHEREVER_IT_ARRIVES:
        return False
    late = finding.code in DELAYING and loss.stage == "delivery"
    if late or loss.unresolved:  # or ARP was lost, somewhere between the two
        return node not in scene.hosts or node in scene.on_paths(sender, loss.receiver)
    ends = {(place.node, place.interface) for place in (loss.last, loss.missing) if place is not None}
    if loss.stage in ON_A_TUNNEL and (tunnel := _tunnel(scene, loss)):
        ends |= {(end.host, end.device) for end in tunnel.ends}
    if node not in scene.hosts:
        within = loss.inside.node if loss.inside else node
        ports = {"", FABRIC, loss.inside.interface if loss.inside else "", *(host for host, _ in ends)}
        return loss.stage in ("encapsulation", "cloud") and (node == within != FABRIC or interface in ports)
    if interface in scene.topology.ports(node):
        return (node, interface) in ends
    return node in {host for host, _ in ends}


def _takes_carrier(scene: Scene, finding: Finding, loss: Loss) -> bool:
    """Whether a finding is at a port of a bridge that has no carrier, so that its host sends nothing through it."""
    host, device = scene.hosts.get(finding.node), loss.missing.interface
    if host is None or loss.stage != "sending" or loss.missing.node != host.name or device not in host.seen.devices:
        return False
    return not host.seen.device(device).carrier and finding.interface in scene.topology.ports(host.name)


def _tunnel(scene: Scene, loss: Loss) -> Tunnel | None:
    """The tunnel that a packet was in, or was to get into, when it was lost."""
    if loss.last is not None and loss.stage == "cloud":
        pair = {loss.last.node, loss.missing.node}
        return next((one for one in scene.topology.tunnels if {end.host for end in one.ends} == pair), None)
    place = loss.missing if loss.stage == "decapsulation" else loss.last
    at = (place.node, place.interface) if place else None
    return next((one for one in scene.topology.tunnels if at in {(end.host, end.device) for end in one.ends}), None)
