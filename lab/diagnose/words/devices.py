"""Devices, bridge ports, addresses and parameters of a node, one line each, in the words of ip(8) and bridge(8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

State = Mapping[str, Any]


FALLBACKS = ("gre0", "gretap0", "erspan0", "ip6gre0", "ip6tnl0", "tunl0", "sit0", "ip_vti0", "ip6_vti0")
PORT_DEFAULTS = {
    **dict.fromkeys(("learning", "flood", "mcast_flood", "bcast_flood", "mcast_router"), 1),
    **dict.fromkeys(("hairpin", "guard", "root_block", "fastleave", "mcast_to_unicast", "proxy_arp"), 0),
    **dict.fromkeys(("proxy_arp_wifi", "neigh_suppress", "vlan_tunnel", "isolated", "locked", "group_fwd_mask"), 0),
}
BRIDGE_DEFAULTS = {
    **dict.fromkeys(("vlan_filtering", "stp_state", "group_fwd_mask", "mcast_querier"), 0),
    **dict.fromkeys(("nf_call_iptables", "nf_call_ip6tables", "nf_call_arptables"), 0),
    **dict.fromkeys(("mcast_snooping", "mcast_router", "mcast_mld_version", "vlan_default_pvid"), 1),
    "mcast_igmp_version": 2,
    "mcast_hash_max": 4096,
    "ageing_time": 30000,
    "forward_delay": 1500,
    "priority": 32768,
}


def links(state: State) -> Iterator[str]:
    unused = _unused(state)
    if unused:
        yield f"links not in use: {', '.join(unused)}"
    for link in state.get("links", ()):
        if link.name in unused:
            continue
        unusual = (
            *(
                "" if value else f"no {word}"
                for word, value in (("broadcast", link.broadcast), ("multicast", link.multicast))
            ),
            *(word for word, value in (("noarp", not link.arp), ("promisc", link.promisc)) if value),
            "allmulti" if link.allmulticast else "",
        )
        words = [
            f"link {link.name}",
            link.kind,
            "up" if link.up else "DOWN",
            "NO-CARRIER" if link.up and not link.carrier else "",
            f"mtu {link.mtu}",
            link.mac,
            f"master {link.master}" if link.master else "",
            *(unusual if link.name != "lo" else ()),
        ]
        if link.kind == "bridge":
            words += _unlike(link.details, BRIDGE_DEFAULTS)
        yield " ".join(word for word in words if word)


def ports(state: State) -> Iterator[str]:
    """Every bridge port with its state, and the flags that are not as a new port has them."""
    for port in state.get("ports", ()):
        yield " ".join([f"port {port.dev} of {port.master}", port.state, *_unlike(port.flags, PORT_DEFAULTS)])


def _unlike(values: Mapping[str, Any], usual: Mapping[str, int]) -> list[str]:
    return [f"{name} {values[name]}" for name, value in usual.items() if values.get(name, value) != value]


def vlans(state: State) -> Iterator[str]:
    """The VLANs of each port, where a bridge filters by them."""
    filtering = filters_vlans(state)
    carried: dict[str, list[str]] = defaultdict(list)
    for entry in state.get("vlans", ()) if filtering else ():
        marks = [word for word, is_so in (("pvid", entry.pvid), ("untagged", entry.untagged)) if is_so]
        carried[entry.dev].append(" ".join([str(entry.vid), *marks]))
    for device, listed in carried.items():
        yield f"vlan {device}: {', '.join(listed)}"


def addresses(state: State) -> Iterator[str]:
    for one in state.get("addresses", ()):
        broadcast = f" brd {one.broadcast}" if one.broadcast else ""
        peer = f" peer {one.peer}" if one.peer else ""
        yield f"address {one.local}{peer}/{one.prefixlen}{broadcast} dev {one.dev}"


def sysctls(state: State) -> Iterator[str]:
    """The parameters of the node, and of each device those that are on."""
    for name, value in state.get("sysctls", {}).items():
        if value is not None:
            yield f"sysctl {name} = {value}"
    unused = set(_unused(state))
    for entry in state.get("parameters", ()):
        for family, of in (("ipv4", entry.ipv4), ("ipv6", entry.ipv6)):
            values = [f"{name} = {value}" for name, value in of.items() if value]
            if values and entry.device not in unused:
                yield f"sysctl net.{family}.conf.{entry.device}: {', '.join(values)}"


def _unused(state: State) -> list[str]:
    """The unused devices that tunnel modules create in every stack."""
    return [link.name for link in state.get("links", ()) if link.name in FALLBACKS and not link.up and not link.master]


def filters_vlans(state: State) -> bool:
    """Whether a bridge of the node filters by VLANs."""
    return any(link.details.get("vlan_filtering") for link in state.get("links", ()))
