"""
The state of a network stack as records: what the agent reads (`lab.agent.stack.reading`), typed.

Fields have the names that ip(8), bridge(8) and tc(8) give them; a device is its name (None: gone meanwhile).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from lab.firewall.rules import FirewallRule

MAIN_TABLE, LOCAL_TABLE = 254, 255
TABLES = {253: "default", MAIN_TABLE: "main", LOCAL_TABLE: "local"}
CLSACT = "ffff:"
ANY_MAC = "00:00:00:00:00:00"  # where frames go that no other entry is for (bridge(8))


@dataclass(frozen=True)
class Link:
    """A network device."""

    name: str
    kind: str
    up: bool
    multicast: bool
    mtu: int
    mac: str
    index: int = 0
    arp: bool = True
    broadcast: bool = True
    promisc: bool = False
    allmulticast: bool = False
    lower_up: bool = True
    carrier: bool = True
    operstate: str = "unknown"
    master: str | None = None
    lower: str | None = None
    """The device of this stack that it stands on, or is joined with."""
    link_netnsid: int | None = None
    """The number of the other stack that it stands on, in this one's numbering."""
    txqueuelen: int | None = None
    alias: str | None = None
    group: int | None = None
    protodown: bool = False
    xdp: str = ""
    """How an XDP program is attached (`xdpgeneric`, `xdpdrv`), as ip-link(8) has it; empty: there is none."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The parameters of its kind."""
    statistics: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Counters under the names of `ip -s -s link`: rx_crc_errors, rx_fifo_errors, tx_errors, ..."""


@dataclass(frozen=True)
class Port:
    """A port of a bridge; `flags` are numbers under the words of bridge(8), as far as this kernel has them."""

    dev: str
    master: str
    state: str
    flags: Mapping[str, int]


@dataclass(frozen=True)
class Address:
    """An address; `peer` only where it is another one than its own."""

    family: str
    local: str
    prefixlen: int
    dev: str | None
    peer: str | None = None
    broadcast: str | None = None
    scope: str = "global"
    index: int = 0
    """The number of its device."""
    detection: str = ""
    """Why it cannot be used: duplicate address detection has not ended (`tentative`) or failed (`dadfailed`)."""


@dataclass(frozen=True)
class Route:
    """A route of any table; of several `nexthops`, each is `via` and `dev`."""

    family: str
    dst: str
    type: str = "unicast"
    via: str | None = None
    dev: str | None = None
    table: int = MAIN_TABLE
    proto: str = "boot"
    scope: str = "global"
    src: str | None = None
    metric: int = 0
    mtu: int | None = None
    nexthops: Sequence[tuple[str | None, str | None]] = ()
    tos: int = 0
    nhid: int | None = None
    """The number of the next hop object that gives it `dev` and `via` (ip-nexthop(8))."""

    @property
    def prefixlen(self) -> int:
        return int(self.dst.rpartition("/")[2])

    @functools.cached_property
    def to(self) -> IPv4Network:
        """Where an IPv4 route leads to."""
        return IPv4Network(self.dst)

    @property
    def selectors(self) -> str:
        """What makes a route another one than the next of its table, as ip-route(8) takes it."""
        words = [
            "" if self.type == "unicast" or self.nhid else self.type,
            self.dst,
            f"tos {self.tos:#x}" if self.tos else "",
            f"nhid {self.nhid}" if self.nhid else _hop(self.via, self.dev),
            f"metric {self.metric}" if self.metric else "",
            *(f"nexthop {_hop(via, dev)}" for via, dev in self.nexthops),
        ]
        return " ".join(filter(None, words))

    def __str__(self) -> str:
        own, nexthop, further = self.selectors.partition(" nexthop ")
        return f"{own} table {TABLES.get(self.table, self.table)}{nexthop}{further}"


def _hop(via: str | None, dev: str | None) -> str:
    return " ".join(filter(None, (f"via {via}" if via else "", f"dev {dev}" if dev else "")))


SUPPRESSING = ("suppress_prefixlength", "suppress_ifgroup")
"""What makes a rule pass over some of the routes that it finds, by ip-rule(8)'s words."""


@dataclass(frozen=True)
class Rule:
    """A rule of policy routing; `src` and `dst` are prefixes, None: all."""

    family: str
    priority: int
    table: int = 0
    action: str = "lookup"
    inverted: bool = False
    src: str | None = None
    dst: str | None = None
    iif: str | None = None
    oif: str | None = None
    tos: int = 0
    fwmark: int | None = None
    fwmask: int | None = None
    ipproto: int | None = None
    sport: str | None = None
    dport: str | None = None
    uidrange: str | None = None
    goto: int | None = None
    suppress_prefixlength: int | None = None
    suppress_ifgroup: int | None = None
    l3mdev: bool = False

    def __str__(self) -> str:
        """As ip-rule(8) lists it."""
        mask = f"/{self.fwmask:#x}" if self.fwmask not in (None, 0xFFFFFFFF) else ""
        leads = f"lookup {TABLES.get(self.table, self.table)}" if self.action == "lookup" and not self.l3mdev else ""
        matches = {
            "to": self.dst,
            "tos": f"{self.tos:#x}" if self.tos else None,
            "fwmark": f"{self.fwmark:#x}{mask}" if self.fwmark else None,
            **{name: getattr(self, name) for name in ("iif", "oif", "uidrange", "ipproto", "sport", "dport")},
        }
        words = [
            f"{self.priority}:",
            "not" if self.inverted else "",
            f"from {self.src or 'all'}",
            *(f"{name} {value}" for name, value in matches.items() if value),
            "l3mdev" if self.l3mdev else leads,
            *(f"{name} {value}" for name in SUPPRESSING if (value := getattr(self, name)) is not None),
            f"goto {self.goto}" if self.goto else self.action if self.action != "lookup" else "",
        ]
        return " ".join(filter(None, words))

    @property
    def selectors(self) -> str:
        """As ip-rule(8) takes it to add or delete it."""
        return f"priority {str(self).replace(':', '', 1)}"


@dataclass(frozen=True)
class Neighbour:
    """A neighbour; `state` as ip-neighbour(8) has it, in small letters."""

    family: str
    dst: str
    dev: str | None
    state: str
    lladdr: str | None = None

    @property
    def fixed(self) -> bool:
        """Whether it is never resolved: permanent, or of a device without ARP."""
        return self.state in ("permanent", "noarp")


@dataclass(frozen=True)
class FdbEntry:
    """A forwarding entry of a bridge (`master`) or of a device itself (`own`); `state`: permanent, static, learned."""

    lladdr: str
    dev: str | None
    state: str
    dst: str | None = None
    vlan: int | None = None
    port: int | None = None
    vni: int | None = None
    via: str | None = None
    master: str | None = None
    own: bool = False


@dataclass(frozen=True)
class MdbEntry:
    """A port that is listed for a group in a bridge's multicast database; `source` None: any."""

    bridge: str
    port: str
    group: str
    source: str | None = None
    vid: int = 0
    permanent: bool = False


@dataclass(frozen=True)
class Vlan:
    """A VLAN of a port or bridge."""

    dev: str
    vid: int
    pvid: bool = False
    untagged: bool = False


@dataclass(frozen=True)
class Qdisc:
    """A queueing discipline; `settings` in s, percent, bit/s and packets (`lab.agent.stack.traffic`)."""

    kind: str
    dev: str
    handle: str
    parent: str
    index: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    blocks: Sequence[int] = (0, 0)
    """The blocks of filters that it shares with others, of ingress and of egress; 0: none."""
    bytes: int = 0
    packets: int = 0
    backlog: int = 0
    drops: int = 0
    overlimits: int = 0


@dataclass(frozen=True)
class Filter:
    """A filter of traffic control; `actions` each with `kind`, `verdict` and counters."""

    kind: str
    dev: str
    direction: str
    parent: str
    priority: int
    protocol: str
    handle: str
    name: str = ""
    match: str = ""
    classid: str = ""
    program: int | None = None
    index: int = 0
    actions: Sequence[Mapping[str, Any]] = ()
    chain: int = 0
    block: int = 0

    @property
    def place(self) -> str:
        """Where it hangs, as tc(8) takes it."""
        # what hangs on clsact is named by its direction, what hangs on another queue by its handle
        at = self.direction if self.parent == CLSACT else f"parent {self.parent}"
        at = f"block {self.block}" if self.block else f"dev {self.dev} {at}"
        return f"{at} chain {self.chain}" if self.chain else at

    def __str__(self) -> str:
        does = [
            f"{action['kind']} {action['verdict']}"
            + (f" one in {action['random']['one_in']} {action['random']['verdict']}" if action.get("random") else "")
            for action in self.actions
        ]
        words = [f"dev {self.dev} {self.direction} protocol {self.protocol}", self.kind, self.name]
        match, classid = f"({self.match})" if self.match else "", f"classid {self.classid}" if self.classid else ""
        return " ".join(filter(None, [*words, match, classid, *does]))


@dataclass(frozen=True)
class Sysctls:
    """The parameters of a device as sysctl(8) names them: in net.ipv4.conf, net.ipv6.conf and net.ipv4.neigh."""

    device: str
    ipv4: Mapping[str, int]
    ipv6: Mapping[str, int]
    neighbours: Mapping[str, int] = field(default_factory=dict)
    index: int = 0


def is_group(mac: str) -> bool:
    """Whether a MAC address is a group's: broadcast or multicast (IEEE 802: the lowest bit of its first octet)."""
    first = mac.split(":")[0]
    return len(first) == 2 and bool(int(first, 16) & 1)


TYPES: Mapping[str, Callable[..., Any]] = {
    "links": Link,
    "ports": Port,
    "addresses": Address,
    "routes": Route,
    "rules": Rule,
    "neighbours": Neighbour,
    "fdb": FdbEntry,
    "mdb": MdbEntry,
    "vlans": Vlan,
    "qdiscs": Qdisc,
    "filters": Filter,
    "parameters": Sysctls,
    "firewall": FirewallRule,
}


def typed(reading: str, entries: Any) -> Any:
    """What the agent read, as records; anything else as it is."""
    made = TYPES.get(reading)
    return [made(**entry) for entry in entries] if made else entries
