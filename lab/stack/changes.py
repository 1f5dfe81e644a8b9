"""
Changes of a network stack as data, under the names of `ip`, `bridge` and `tc`; the agent makes them (`agent.links`).

    node.apply(link_add("bridge0", bridge(mcast_snooping=0)), addr_add("bridge0", "172.16.254.1/24"))

The data of a kind of tunnel are in that kind's own module (`tunnels.gretap`, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.model import Change

LinkKind = dict[str, Any]
"""A kind of link with its data, as `link_add` and `link_set` take it."""


def _change(verb: str, **fields: Any) -> Change:
    return verb, {name: value for name, value in fields.items() if value is not None}


# links


def link_add(
    device: str,
    kind: LinkKind,
    *,
    mtu: int | None = None,
    address: str | None = None,
    master: str | None = None,
    up: bool = True,
) -> Change:
    return _change("link_add", device=device, **kind, mtu=mtu, address=address, master=master, up=up)


def link_set(
    device: str,
    kind: LinkKind | None = None,
    *,
    up: bool | None = None,
    mtu: int | None = None,
    address: str | None = None,
    master: str | None = None,
    nomaster: bool | None = None,
) -> Change:
    fields = {"up": up, "mtu": mtu, "address": address, "master": master, "nomaster": nomaster}
    return _change("link_set", device=device, **(kind or {}), **fields)


def link_del(device: str) -> Change:
    return _change("link_del", device=device)


def link_kind(name: str, prefix: str = "", options: Mapping[str, Any] | None = None) -> LinkKind:
    """A kind with those of its options that are not None; the kernel's names are `prefix` and the option's."""
    data = [[prefix + option.upper(), value] for option, value in (options or {}).items() if value is not None]
    return {"kind": name, "data": data}


def bridge(
    *,
    forward_delay: int | None = None,
    group_fwd_mask: int | None = None,
    hello_time: int | None = None,
    max_age: int | None = None,
    mcast_hash_max: int | None = None,
    mcast_igmp_version: int | None = None,
    mcast_last_member_interval: int | None = None,
    mcast_membership_interval: int | None = None,
    mcast_querier: int | None = None,
    mcast_query_response_interval: int | None = None,
    mcast_query_use_ifaddr: int | None = None,
    mcast_snooping: int | None = None,
    nf_call_iptables: int | None = None,
    priority: int | None = None,
    stp_state: int | None = None,
) -> LinkKind:
    """`type bridge` of ip-link(8)."""
    options = {name.replace("interval", "intvl"): value for name, value in locals().items()}
    return link_kind("bridge", "IFLA_BR_", options)


def bond(
    *,
    mode: int | None = None,
    arp_interval: int | None = None,
    arp_ip_target: Sequence[str] | None = None,
    active_slave: str | None = None,
) -> LinkKind:
    """`type bond` of ip-link(8); `mode` 1 is active-backup, `arp_interval` in ms."""
    targets = None if arp_ip_target is None else list(arp_ip_target)
    options = {"mode": mode, "arp_interval": arp_interval, "arp_ip_target": targets, "active_slave": active_slave}
    return link_kind("bond", "IFLA_BOND_", options)


def hsr(slave1: str, slave2: str, *, proto: int) -> LinkKind:
    """`type hsr` of ip-link(8); `proto` 1 is PRP (IEC 62439-3)."""
    return link_kind("hsr", "IFLA_HSR_", {"slave1": slave1, "slave2": slave2, "protocol": proto})


def veth(peer: str, node: int, *, mtu: int | None = None, address: str | None = None) -> LinkKind:
    """A pair whose other end is made in the node with this handle, down."""
    far = {"device": peer, "node": node, "mtu": mtu, "address": address}
    return {"kind": "veth", "peer": {name: value for name, value in far.items() if value is not None}}


def bridge_port(
    device: str,
    *,
    bcast_flood: int | None = None,
    fastleave: int | None = None,
    flood: int | None = None,
    flush: int | None = None,
    hairpin: int | None = None,
    isolated: int | None = None,
    learning: int | None = None,
    locked: int | None = None,
    mcast_flood: int | None = None,
    mcast_router: int | None = None,
    proxyarp: int | None = None,
) -> Change:
    """`bridge link set` of bridge(8); `flush` is ip-link(8)'s `fdb_flush`: what was learned there is forgotten."""
    return _change("bridge_port", **locals())


# addresses, routes, neighbours


def addr_add(device: str, address: str, *, peer: str | None = None) -> Change:
    return _change("addr_add", device=device, address=address, peer=peer)


def addr_del(device: str, address: str, *, peer: str | None = None) -> Change:
    return _change("addr_del", device=device, address=address, peer=peer)


def route_add(
    to: str,
    device: str | None = None,
    *,
    via: str | None = None,
    source: str | None = None,
    type: str | None = None,  # noqa: A002  as ip-route(8) calls it
    mtu: int | None = None,
) -> Change:
    return _change("route_add", to=to, device=device, via=via, source=source, type=type, mtu=mtu)


def route_replace(to: str, device: str | None = None, *, source: str | None = None) -> Change:
    return _change("route_replace", to=to, device=device, source=source)


def route_del(to: str, device: str | None = None, *, type: str | None = None) -> Change:  # noqa: A002  the same
    return _change("route_del", to=to, device=device, type=type)


def neigh_add(device: str, to: str, lladdr: str) -> Change:
    return _change("neigh_add", device=device, to=to, lladdr=lladdr)


def neigh_del(device: str, to: str) -> Change:
    return _change("neigh_del", device=device, to=to)


def fdb_replace(device: str, lladdr: str) -> Change:
    return _change("fdb_replace", device=device, lladdr=lladdr)


def fdb_append(device: str, lladdr: str, dst: str) -> Change:
    """One more VXLAN endpoint that frames for a MAC address are sent to (`bridge fdb append`)."""
    return _change("fdb_append", device=device, lladdr=lladdr, dst=dst)


# traffic control


def filter_add(device: str, direction: str, program: Sequence[Sequence[int]], name: str) -> Change:
    return _change("filter_add", device=device, direction=direction, program=program, name=name)


def filter_clear(device: str, direction: str) -> Change:
    return _change("filter_clear", device=device, direction=direction)


def delay_add(device: str, milliseconds: float) -> Change:
    return _change("delay_add", device=device, milliseconds=milliseconds)
