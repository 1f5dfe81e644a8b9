"""
The named topologies.

`star` is the one that conforms: 224.0.0.0/4 routed to the overlay, outer TTL 64, outer source pinned.
`bridged` is a star whose spokes have a bridge, too: the address on it, the tunnel its port, others possible.
`article` is the how-to's literal set-up with its two mistakes: it routes 224.0.0.0/8 only, and leaves `ttl inherit`.
It also leaves the bridge's MAC address to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from lab import tunnels
from lab.errors import UsageProblem
from lab.model import TICKS, NodePlan, Topology, TunnelOptions, ipv6_of
from lab.topology.graph import Tunnel

HUB = IPv4Address("10.0.0.197")
FIRST_SPOKES = (IPv4Address("10.0.0.25"), IPv4Address("10.0.0.131"))
GATEWAY_HOST = 1
ROLE = "192.0.2.253"  # TEST-NET-1 (RFC 5737): the address of the VRRP master of a hub and its standby
OVERLAY = IPv4Network("172.16.254.0/24")
MOST_SPOKES = 250
BRIDGE = "bridge0"
LEAST_TIMERS = {"stp_state": 1, "forward_delay": 2 * TICKS, "hello_time": 1 * TICKS, "max_age": 6 * TICKS}
"""STP with the least that the kernel takes (net/bridge/br_private_stp.h)."""


def spoke_addresses() -> Iterator[IPv4Address]:
    """The underlay addresses of spokes, in their order."""
    yield from FIRST_SPOKES
    taken = {HUB, *FIRST_SPOKES}
    for address in IPv4Network("10.0.0.0/24").hosts():
        if address not in taken and int(address) & 0xFF != GATEWAY_HOST:
            yield address


def star(spokes: int = 2, options: TunnelOptions | None = None) -> Topology:
    """A hub and `spokes` spokes (1 to 250): the overlay that conforms."""
    if not 1 <= spokes <= MOST_SPOKES:
        why = "; the overlay's /24 has no more addresses" if spokes > MOST_SPOKES else ""
        raise UsageProblem(f"--spokes={spokes}: expected 1 to {MOST_SPOKES}{why}")
    options = options or TunnelOptions()
    prefix = tunnels.kind(options.kind).name
    nodes = [NodePlan("hub", "hub", on_the_underlay(HUB), on_the_overlay(1), BRIDGE, holder="bridge")]
    joined = []
    for number, address in zip(range(1, spokes + 1), spoke_addresses(), strict=False):
        device = f"{prefix}{number}"
        nodes.append(NodePlan(f"spoke{number}", "spoke", on_the_underlay(address), on_the_overlay(1 + number), device))
        joined.append(Tunnel.between(number, **{"hub": device, f"spoke{number}": device}))
    return dual_stack(Topology("star", tuple(nodes), tuple(joined), options))


def bridged(spokes: int = 2, options: TunnelOptions | None = None) -> Topology:
    """The same star; each spoke has its address on a bridge whose port its tunnel is, as where it has guests."""
    base = star(spokes, options)
    nodes = [base.hub, *(replace(spoke, device=BRIDGE, holder="bridge") for spoke in base.spokes)]
    return replace(base, name="bridged", nodes=tuple(nodes))


def article(spokes: int = 2, options: TunnelOptions | None = None) -> Topology:
    """The how-to's literal commands: the multicast range cut to a /8, no ttl, no local, the bridge's MAC not pinned."""
    base = star(spokes, options)
    return replace(
        base,
        name="article",
        multicast_route=IPv4Network("224.0.0.0/8"),
        pinned_mac=False,
        options=replace(base.options, ttl=None, local=False),
    )


def routed(plan: Topology) -> Topology:
    """The same overlay with all but the first host in a subnet of their own, 10.0.1.0/24, for one with routers."""
    first, *others = plan.nodes
    further = tuple(replace(node, underlay=_in_second_subnet(node.underlay)) for node in others)
    return dual_stack(replace(plan, nodes=(first, *further)))


def dual_stack(plan: Topology) -> Topology:
    """The same overlay; where its tunnels go over IPv6, its hosts have an address of that on the underlay as well."""
    if not tunnels.kind(plan.options.kind).over_ipv6:
        return plan
    nodes = tuple(replace(node, underlay6=ipv6_of(node.underlay)) for node in plan.nodes)
    return replace(plan, nodes=nodes)


def _in_second_subnet(address: IPv4Interface) -> IPv4Interface:
    return IPv4Interface((int(address.ip) + 256, address.network.prefixlen))


def on_the_underlay(address: IPv4Address) -> IPv4Interface:
    return IPv4Interface((address, 24))


def on_the_overlay(number: int) -> IPv4Interface:
    return IPv4Interface((OVERLAY.network_address + number, OVERLAY.prefixlen))


def few(spokes: Sequence[NodePlan]) -> tuple[NodePlan, ...]:
    """The spokes that stand for the others: of many the first two and the last."""
    return (*spokes[:2], *spokes[2:][-1:])
