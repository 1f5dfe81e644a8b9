"""Devices, bridge ports, addresses and parameters of a node, one line each, in the words of ip(8) and bridge(8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lab.diagnose.words.reading import State, details, kind, names

FLAGS = {0x1: "up", 0x2: "broadcast", 0x80: "noarp", 0x100: "promisc", 0x200: "allmulti", 0x1000: "multicast"}
USUAL_FLAGS = 0x1 | 0x2 | 0x1000
FALLBACKS = ("gre0", "gretap0", "erspan0", "ip6gre0", "ip6tnl0", "tunl0", "sit0", "ip_vti0", "ip6_vti0")
PORT_STATES = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
PORT_DEFAULTS = {
    "LEARNING": ("learning", 1),
    "UNICAST_FLOOD": ("flood", 1),
    "MCAST_FLOOD": ("mcast_flood", 1),
    "BCAST_FLOOD": ("bcast_flood", 1),
    "MODE": ("hairpin", 0),
    "GUARD": ("guard", 0),
    "PROTECT": ("root_block", 0),
    "FAST_LEAVE": ("fastleave", 0),
    "MULTICAST_ROUTER": ("mcast_router", 1),
    "MCAST_TO_UCAST": ("mcast_to_unicast", 0),
    "PROXYARP": ("proxy_arp", 0),
    "PROXYARP_WIFI": ("proxy_arp_wifi", 0),
    "NEIGH_SUPPRESS": ("neigh_suppress", 0),
    "VLAN_TUNNEL": ("vlan_tunnel", 0),
    "ISOLATED": ("isolated", 0),
    "LOCKED": ("locked", 0),
    "GROUP_FWD_MASK": ("group_fwd_mask", 0),
}
BRIDGE_DEFAULTS = {
    "VLAN_FILTERING": 0,
    "STP_STATE": 0,
    "AGEING_TIME": 30000,
    "FORWARD_DELAY": 1500,
    "PRIORITY": 32768,
    "GROUP_FWD_MASK": 0,
    "MCAST_SNOOPING": 1,
    "MCAST_QUERIER": 0,
    "MCAST_ROUTER": 1,
    "MCAST_HASH_MAX": 4096,
    "MCAST_IGMP_VERSION": 2,
    "MCAST_MLD_VERSION": 1,
    "NF_CALL_IPTABLES": 0,
    "NF_CALL_IP6TABLES": 0,
    "NF_CALL_ARPTABLES": 0,
    "VLAN_DEFAULT_PVID": 1,
}


def links(state: State) -> Iterator[str]:
    known = names(state)
    unused = _unused(state)
    if unused:
        yield f"links not in use: {', '.join(unused)}"
    for link in state.get("links", ()):
        if link.get("IFLA_IFNAME") in unused:
            continue
        flags, made = link["flags"], kind(link)
        unusual = [word for bit, word in FLAGS.items() if flags & bit and not USUAL_FLAGS & bit]
        unusual += [f"no {word}" for bit, word in FLAGS.items() if USUAL_FLAGS & bit & ~flags and bit != 0x1]
        words = [
            f"link {link.get('IFLA_IFNAME')}",
            made,
            "up" if flags & 1 else "DOWN",
            "NO-CARRIER" if flags & 1 and link.get("IFLA_CARRIER") == 0 else "",
            f"mtu {link.get('IFLA_MTU')}",
            str(link.get("IFLA_ADDRESS") or ""),
            f"master {known.get(link['IFLA_MASTER'])}" if link.get("IFLA_MASTER") else "",
            *(unusual if link.get("IFLA_IFNAME") != "lo" else ()),
        ]
        if made == "bridge":
            words += [
                f"{name.lower()} {details(link)[f'IFLA_BR_{name}']}"
                for name, usual in BRIDGE_DEFAULTS.items()
                if details(link).get(f"IFLA_BR_{name}", usual) != usual
            ]
        yield " ".join(word for word in words if word)


def ports(state: State) -> Iterator[str]:
    """Every bridge port with its state, and the flags that are not as a new port has them."""
    known = names(state)
    for port in state.get("bridge_ports", ()):
        flags = port.get("IFLA_PROTINFO")
        if not isinstance(flags, dict):
            continue
        value = int(flags.get("IFLA_BRPORT_STATE") or 0)
        unusual = [
            f"{word} {flags[f'IFLA_BRPORT_{name}']}"
            for name, (word, usual) in PORT_DEFAULTS.items()
            if flags.get(f"IFLA_BRPORT_{name}", usual) != usual
        ]
        bridge = known.get(port.get("IFLA_MASTER") or 0, "?")
        yield " ".join(
            [f"port {known.get(port['index'], '?')} of {bridge}", PORT_STATES.get(value, str(value)), *unusual]
        )


def vlans(state: State) -> Iterator[str]:
    """The VLANs of each port, where a bridge filters by them."""
    filtering = any(details(link).get("IFLA_BR_VLAN_FILTERING") for link in state.get("links", ()))
    carried: dict[str, list[str]] = defaultdict(list)
    for entry in state.get("vlans", ()) if filtering else ():
        marks = [word for word, is_so in (("pvid", entry["pvid"]), ("untagged", entry["untagged"])) if is_so]
        carried[entry["device"]].append(" ".join([str(entry["vid"]), *marks]))
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
        for family in ("ipv4", "ipv6"):
            values = [f"{name} = {value}" for name, value in entry[family].items() if value]
            if values and entry["device"] not in unused:
                yield f"sysctl net.{family}.conf.{entry['device']}: {', '.join(values)}"


def _unused(state: State) -> list[str]:
    """The devices that tunnel modules make in every stack, where nobody has put them to use."""
    return [
        str(link.get("IFLA_IFNAME"))
        for link in state.get("links", ())
        if link.get("IFLA_IFNAME") in FALLBACKS and not link["flags"] & 1 and not link.get("IFLA_MASTER")
    ]
