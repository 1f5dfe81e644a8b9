"""
Designs of an overlay, as data: what each is built like, and what of it can be lost.

    star            spoke1 --- hub --- spoke2            one hub, whose loss ends everything
    pair            spoke1 --- spoke2                    two hosts, one tunnel, no bridge
    mesh            spoke1 --- spoke2 --- spoke3 --- 1   a tunnel between any two; isolated ports do not forward
    flood-list      spoke1, spoke2, spoke3               one VXLAN device each, which copies to every peer
    two-hubs-stp    spoke1 === hub, hub2 === spoke2      spokes bridge two tunnels; STP blocks what would be a loop
    two-hubs-bond   the same                             spokes use one leg, and the other when the first is silent
    two-hubs-prp    the same, hubs not joined            spokes send by both legs; receivers drop the second copy
    native          spoke1, spoke2                       no tunnel: the cloud delivers groups to their members

Sources: IEEE 802.1D (STP), Documentation/networking/bonding.rst (arp_interval), IEC 62439-3 (PRP), RFC 7348 and
bridge(8) (flood lists).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Literal

from lab import tunnels
from lab.clouds.native_multicast import TRANSIT_GATEWAY
from lab.clouds.providers import WITHOUT_TUNNELS
from lab.errors import UsageProblem
from lab.model import Holder, NodePlan, Role, Topology, TunnelOptions
from lab.topology import topologies
from lab.topology.graph import Tunnel

SECOND_HUB = IPv4Address("10.0.0.198")
SECOND_HUB_ON_OVERLAY = 200
SECOND_LEGS = 1000  # the numbers of the tunnels to the second hub, and of those between hubs, begin beyond
LEAST_SPOKES, MOST_SPOKES = 2, 20
MOST_DELAY = 600.0  # seconds
PRP_MOST, PRP_TRAILER = 1500, 6  # octets: an hsr device takes no more (ether_setup), and each frame ends with a trailer
MTUS: dict[Holder, Callable[[int], int]] = {
    "bond": lambda room: room,
    "prp": lambda room: min(room, PRP_MOST) - PRP_TRAILER,
    "nic": lambda room: min(room, TRANSIT_GATEWAY.mtu),
}
"""The MTU of a device that does not derive it from its tunnels, of what the NICs leave to these."""
DEVICES: dict[Holder, str] = {"bridge": topologies.BRIDGE, "bond": "bond1", "prp": "prp0", "mesh": "vxlan0"}

CALM = 1000
"""
Milliseconds between the ARP probes of a bond in the suite's labs: with 100, a busy machine that does not run the guest
kernel for a third of a second is taken for the loss of a hub.
"""

LossEvent = Literal["hub", "hub2", "leg", "spoke", "takeover", "slow", "lossy"]
"""
What is lost: a hub, the way of the first spoke's first tunnel (`leg`), the last spoke.

`takeover`: the hub, and another VM gets its address and its tunnels.  `slow`, `lossy`: that tunnel carries everything
later, or not all of it.
"""


@dataclass(frozen=True)
class Design:
    """One design; `kinds` are the kinds of link that it needs in addition to a bridge and its tunnels (ip-link(8))."""

    name: str
    title: str
    shape: Callable[[int, TunnelOptions], Topology]
    losses: tuple[LossEvent, ...]
    kinds: tuple[str, ...] = ()
    tunnels: tuple[str, ...] = ()
    """The kinds of tunnel that it can be made of; empty: any."""
    patience: float = 1.5
    """Seconds after which what is not heard again by then is taken to stay lost."""
    slow: bool = False
    """Measured when it is asked for."""
    most: int = MOST_SPOKES
    """Spokes at most."""
    conforms: bool = False
    """Whether the conformance suite tests it (`--topology`)."""
    lab_only: str = ""
    """Why it is not set up on live hosts."""
    for_a_run: str = ""
    """Why it is set up on live hosts for the length of a run only."""

    def kind(self, wanted: str) -> str:
        """The kind of tunnel that is wanted, or else the one that the design needs."""
        return wanted if not self.tunnels or wanted in self.tunnels else self.tunnels[0]

    def nearest(self, spokes: int) -> int:
        """The number of spokes that it can have, nearest to this one."""
        return min(max(spokes, LEAST_SPOKES), self.most)

    @property
    def bounds(self) -> str:
        """How many spokes it can have, as text."""
        return f"{LEAST_SPOKES} to {self.most}" if self.most > LEAST_SPOKES else str(self.most)

    def build(self, spokes: int, options: TunnelOptions, nic_mtu: int) -> Topology:
        """The overlay with so many spokes over NICs of an MTU; UsageProblem for what it cannot be made of."""
        kind = tunnels.kind(options.kind)
        if self.tunnels and kind.name not in self.tunnels:
            raise UsageProblem(
                f"--tunnel={kind.name}: the {self.name} design supports only {' or '.join(self.tunnels)}"
            )
        if spokes != self.nearest(spokes):
            raise UsageProblem(f"--spokes={spokes}: expected {self.bounds} for --topology={self.name}")
        return sized(topologies.dual_stack(self.shape(spokes, options)), nic_mtu)


def _standby(spokes: int, options: TunnelOptions) -> Topology:
    star = topologies.star(spokes, options)
    own = topologies.on_the_underlay(SECOND_HUB)
    # without the hub's address of IPv6, which comes with its VNIC
    standby = replace(star.hub, name="standby", underlay=own, underlay6=None, nic="ens4")
    return replace(star, name="standby", standby=standby)


def _pair(spokes: int, options: TunnelOptions) -> Topology:
    device = f"{options.kind}1"
    nodes = _hosts(spokes, device, "tunnel")
    return Topology("pair", nodes, (Tunnel.between(1, spoke1=device, spoke2=device),), options)


def _mesh(spokes: int, options: TunnelOptions) -> Topology:
    nodes = [replace(node, isolated=True) for node in _hosts(spokes, DEVICES["bridge"], "bridge")]
    numbered = enumerate(itertools.combinations(range(1, spokes + 1), 2), 1)
    joined = [
        Tunnel.between(number, **{f"spoke{one}": f"{options.kind}{other}", f"spoke{other}": f"{options.kind}{one}"})
        for number, (one, other) in numbered
    ]
    return Topology("mesh", tuple(nodes), tuple(joined), options)


def _flood_list(spokes: int, options: TunnelOptions) -> Topology:
    device = DEVICES["mesh"]
    nodes = _hosts(spokes, device, "mesh")
    pairs = itertools.combinations([node.name for node in nodes], 2)
    return Topology(
        "flood-list", nodes, tuple(Tunnel.between(1, **dict.fromkeys(pair, device)) for pair in pairs), options
    )


def _two_hubs(name: str, spokes: int, options: TunnelOptions, holder: Holder, *, joined: bool) -> Topology:
    hubs = (
        _host("hub", "hub", topologies.HUB, 1, DEVICES["bridge"], "bridge"),
        _host("hub2", "hub", SECOND_HUB, SECOND_HUB_ON_OVERLAY, DEVICES["bridge"], "bridge"),
    )
    nodes = (*hubs, *_hosts(spokes, DEVICES[holder], holder))
    first, second = f"{options.kind}1", f"{options.kind}2"
    legs = []
    for number in range(1, spokes + 1):
        spoke, port = f"spoke{number}", f"{options.kind}{number}"
        legs.append(Tunnel.between(number, **{"hub": port, spoke: first}))
        legs.append(Tunnel.between(SECOND_LEGS + number, **{"hub2": port, spoke: second}))
    if joined:
        between = f"{options.kind}{spokes + 1}"
        legs.append(Tunnel.between(2 * SECOND_LEGS, hub=between, hub2=between))
    return Topology(name, nodes, tuple(legs), options)


def _stp(spokes: int, options: TunnelOptions) -> Topology:
    return replace(
        _two_hubs("two-hubs-stp", spokes, options, "bridge", joined=True), bridge_data=topologies.LEAST_TIMERS
    )


def _stp_default(spokes: int, options: TunnelOptions) -> Topology:
    return replace(_stp(spokes, options), name="two-hubs-stp-default", bridge_data={"stp_state": 1})


def _bond(spokes: int, options: TunnelOptions) -> Topology:
    return _two_hubs("two-hubs-bond", spokes, options, "bond", joined=True)


def _prp(spokes: int, options: TunnelOptions) -> Topology:
    return _two_hubs("two-hubs-prp", spokes, options, "prp", joined=False)


def _hosts(count: int, device: str, holder: Holder) -> tuple[NodePlan, ...]:
    """Hosts without a hub, with the addresses of a star's spokes."""
    addresses = zip(range(1, count + 1), topologies.spoke_addresses(), strict=False)
    return tuple(_host(f"spoke{number}", "spoke", address, 1 + number, device, holder) for number, address in addresses)


def _host(name: str, role: Role, address: IPv4Address, number: int, device: str, holder: Holder) -> NodePlan:
    return NodePlan(
        name, role, topologies.on_the_underlay(address), topologies.on_the_overlay(number), device, holder=holder
    )


def _native(spokes: int, options: TunnelOptions) -> Topology:
    """The NICs are the overlay's devices: what an underlay delivers by itself."""
    nodes = _hosts(spokes, NodePlan.nic, "nic")
    hosts = tuple(replace(node, overlay=node.underlay) for node in nodes)
    return Topology("native", hosts, (), options, answer_broadcast_ping=False)


def sized(topology: Topology, nic_mtu: int) -> Topology:
    """The same overlay, its devices of the size that NICs of an MTU leave."""
    room = nic_mtu - tunnels.kind(topology.options.kind).overhead(topology.options)
    return replace(topology, mtu=next((MTUS[one.holder](room) for one in topology.spokes if one.holder in MTUS), None))


HUBS: tuple[LossEvent, ...] = ("hub", "hub2", "leg")
IMPAIRED: tuple[LossEvent, ...] = ("slow", "lossy")
DESIGNS: dict[str, Design] = {
    design.name: design
    for design in (
        Design("star", "one hub with a bridge", topologies.star, ("hub", "leg")),
        Design(
            "standby",
            "one hub; a second VM takes over its address",
            _standby,
            ("takeover",),
            patience=5.0,
            conforms=True,
            for_a_run="plan a star, with the hub's files on the standby too, and keepalived on both VMs",
        ),
        Design("pair", "two hosts, one tunnel", _pair, ("leg",), most=2, conforms=True),
        Design("mesh", "a tunnel between every two hosts, isolated ports", _mesh, ("leg", "spoke"), conforms=True),
        Design(
            "flood-list",
            "one VXLAN device on each host sends a copy to every peer",
            _flood_list,
            ("leg", "spoke"),
            tunnels=("vxlan",),
            conforms=True,
        ),
        Design(
            "two-hubs-bond",
            "each spoke bonds two tunnels (active-backup)",
            _bond,
            HUBS,
            kinds=("bond",),
            conforms=True,
        ),
        Design(
            "two-hubs-prp",
            "each spoke sends over two tunnels (PRP)",
            _prp,
            (*HUBS, *IMPAIRED),
            kinds=("hsr",),
            conforms=True,
        ),
        Design(
            "native",
            "no tunnel: the cloud delivers multicast",
            _native,
            (),
            tunnels=("none",),
            conforms=True,
            lab_only=f"has no overlay to plan or set up; to test multicast without one in a lab: {WITHOUT_TUNNELS}",
        ),
        Design(
            "two-hubs-stp",
            "each spoke bridges two tunnels, STP with its shortest timers",
            _stp,
            HUBS,
            patience=15.0,
            conforms=True,
            for_a_run="the loss of a hub stops all delivery for seconds: plan two-hubs-bond or two-hubs-prp",
        ),
        Design(
            "two-hubs-stp-default", "the same with STP's default timers", _stp_default, HUBS, patience=70.0, slow=True
        ),
    )
}


def design(name: str) -> Design:
    """The design of a name; UsageProblem names the ones there are."""
    if name not in DESIGNS:
        raise UsageProblem(f"unknown design {name!r}: expected one of {', '.join(MEASURED)}")
    return DESIGNS[name]


def named(names: Sequence[str], *, slow: bool = False) -> list[Design]:
    """The designs of these names; where there are none all that have something to lose, the slow ones if wanted."""
    found = [design(name) for name in names]
    if found and slow:
        raise UsageProblem(f"--slow adds to all designs; found the names {', '.join(names)}: remove --slow")
    if whole := [one.name for one in found if not one.losses]:
        raise UsageProblem(f"{whole[0]} has no hub or tunnel that can fail; to test it: {WITHOUT_TUNNELS}")
    return found or [one for one in DESIGNS.values() if one.losses and (slow or not one.slow)]


STARS = {"star": topologies.star, "bridged": topologies.bridged, "article": topologies.article}
"""With any number of spokes."""
ALIASES = {"standard": "star"}
TOPOLOGIES = (*STARS, *(one.name for one in DESIGNS.values() if one.conforms))
"""The names that `--topology` takes."""
MEASURED = tuple(one.name for one in DESIGNS.values() if one.losses)
"""The designs that `overcast designs` measures."""
LASTING = tuple(name for name in TOPOLOGIES if name in STARS or not (DESIGNS[name].lab_only or DESIGNS[name].for_a_run))
"""The topologies that are set up on live hosts for good."""


def canonical(name: str) -> str:
    """The name of a topology that may be given by an older one."""
    return ALIASES.get(name, name)


def kinds(name: str) -> tuple[str, ...]:
    """The kinds of link that a topology needs in addition to a bridge and its tunnels."""
    return DESIGNS[name].kinds if name in DESIGNS else ()


def api_delay(seconds: float, names: Sequence[str]) -> float:
    """The seconds that the cloud takes to move an address; UsageProblem where it moves none in these topologies."""
    if not 0 <= seconds <= MOST_DELAY:
        raise UsageProblem(f"--api-delay={seconds:g}: expected 0 to {MOST_DELAY:g} seconds")
    moving = [one.name for one in DESIGNS.values() if "takeover" in one.losses]
    if seconds and not set(moving).intersection(names):
        raise UsageProblem(
            f"--api-delay={seconds:g} requires the {' or '.join(moving)} topology, for which the cloud moves an "
            f"address; found {', '.join(names)}"
        )
    return seconds


def require_live(name: str) -> None:
    """UsageProblem for a topology that is not set up on live hosts."""
    if name in DESIGNS and (why := DESIGNS[name].lab_only):
        raise UsageProblem(f"--topology={name} {why}")


def require_lasting(name: str) -> None:
    """UsageProblem for a topology that is not set up on live hosts for good."""
    if canonical(name) not in TOPOLOGIES:
        raise UsageProblem(f"unknown topology {name!r}: expected one of {', '.join(LASTING)}")
    require_live(name)
    if name in DESIGNS and (why := DESIGNS[name].for_a_run):
        raise UsageProblem(f"--topology={name} is for labs, and for a run on live hosts (--provision): {why}")


def live(topology: Topology) -> Topology:
    """
    The same overlay for live hosts, where no frame may circle, whatever is lost between them.

    STP closes a loop where BPDUs are lost and frames are not; spokes that do not forward between their tunnels do not.
    """
    nodes = [replace(node, isolated=True) if topology.spans(node) else node for node in topology.nodes]
    return replace(topology, nodes=tuple(nodes))


def hubs(name: str) -> int:
    """How many hubs a topology has."""
    return len(_least(name).hubs)


def spares(name: str) -> int:
    """How many hosts of a topology are not part of its overlay until a hub is lost."""
    return int(_least(name).standby is not None)


def _least(name: str) -> Topology:
    options = TunnelOptions(kind=default_tunnel(name, tunnels.DEFAULT))
    return topology(name, LEAST_SPOKES, options, PRP_MOST, nearest=True)


def default_name(tunnel: str | None) -> str:
    """The topology where none is asked for: without tunnels, the one that has none."""
    return "native" if tunnel == tunnels.NONE.name else "star"


def default_tunnel(name: str, otherwise: str) -> str:
    """The kind of tunnel that a topology has where none is asked for."""
    return DESIGNS[name].kind(otherwise) if name in DESIGNS else otherwise


def topology(name: str, spokes: int, options: TunnelOptions, nic_mtu: int, *, nearest: bool = False) -> Topology:
    """
    The topology of a name, for NICs of an MTU (octets); UsageProblem names the ones there are.

    `nearest`: where it cannot have so many spokes, or so few, it has the nearest number that it can have.
    """
    name = canonical(name)
    if name not in TOPOLOGIES:
        raise UsageProblem(f"unknown topology {name!r}: expected one of {', '.join(TOPOLOGIES)}")
    if name in STARS:
        return STARS[name](spokes, options)
    chosen = DESIGNS[name]
    made = chosen.build(chosen.nearest(spokes) if nearest else spokes, options, nic_mtu)
    return replace(made, arp_interval=CALM)
