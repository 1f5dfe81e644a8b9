"""
What can be changed in a network stack over route netlink: links, addresses, routes, neighbours, bridge ports, filters.

Every verb takes names and addresses in text, as `ip`, `bridge` and `tc` do; attributes of a kind of link are given
under the kernel's own names (`IFLA_GRE_REMOTE`, ...), so that a new kind of overlay needs no change here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import Any, Callable

from pyroute2.netlink import NLA_F_NESTED, nla, nlmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg
from pyroute2.netlink.rtnl.tcmsg.common import time2tick

from lab.agent.rtnl import (
    APPEND,
    CHANGE,
    CREATE,
    DELADDR,
    DELLINK,
    DELNEIGH,
    DELROUTE,
    NEWADDR,
    NEWLINK,
    NEWNEIGH,
    NEWROUTE,
    NUD_NOARP,
    NUD_PERMANENT,
    REPLACE,
    SETLINK,
    Transport,
)

NEWQDISC, NEWTFILTER, DELTFILTER = 36, 44, 45
IFF_UP = 1
NTF_SELF, NTF_MASTER = 0x02, 0x04
CLSACT, CLSACT_PARENT, ROOT = 0xFFFF0000, 0xFFFFFFF1, 0xFFFFFFFF
BLOCKS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
NETEM_LIMIT = 1000  # packets that may wait, as tc has it
TCA_BPF_FLAG_ACT_DIRECT = 1
ETH_P_ALL = 0x0003
SCOPE_LINK, SCOPE_UNIVERSE = 253, 0
ROUTE_TYPES = {"unicast": 1, "local": 2, "broadcast": 3, "multicast": 5, "blackhole": 6, "unreachable": 7, "throw": 9}


class _FilterMessage(nlmsg):
    """A classifier of classic BPF whose return value is the verdict (tc-bpf(8), direct-action)."""

    # pyroute2 compiles attribute maps per class and a subclass of tcmsg would inherit tcmsg's
    fields = tcmsg.fields
    nla_map = (
        ("TCA_UNSPEC", "none"),
        ("TCA_KIND", "asciiz"),
        ("TCA_OPTIONS", "bpf_options"),
    )

    class bpf_options(nla):
        nla_map = (
            ("TCA_BPF_UNSPEC", "none"),
            ("TCA_BPF_ACT", "none"),
            ("TCA_BPF_POLICE", "none"),
            ("TCA_BPF_CLASSID", "uint32"),
            ("TCA_BPF_OPS_LEN", "uint16"),
            ("TCA_BPF_OPS", "cdata"),
            ("TCA_BPF_FD", "uint32"),
            ("TCA_BPF_NAME", "asciiz"),
            ("TCA_BPF_FLAGS", "uint32"),
        )


class _Hsr(nla):
    """`type hsr`, which pyroute2 does not know (IFLA_HSR_ of linux/if_link.h)."""

    prefix = "IFLA_"
    nla_map = (
        ("IFLA_HSR_UNSPEC", "none"),
        ("IFLA_HSR_SLAVE1", "uint32"),
        ("IFLA_HSR_SLAVE2", "uint32"),
        ("IFLA_HSR_MULTICAST_SPEC", "uint8"),
        ("IFLA_HSR_SUPERVISION_ADDR", "l2addr"),
        ("IFLA_HSR_SEQ_NR", "uint16"),
        ("IFLA_HSR_VERSION", "uint8"),
        ("IFLA_HSR_PROTOCOL", "uint8"),
    )


ifinfmsg.ifinfo.register_link_kind(module={"hsr": _Hsr})
DEVICES = ("_LINK", "_SLAVE1", "_SLAVE2", "_ACTIVE_SLAVE")
"""How attributes end whose value is another device: an index to the kernel."""


class Links:
    """The verbs, for one network stack.  `namespace_of` turns a node's handle into its namespace's descriptor."""

    def __init__(self, transport: Transport, namespace_of: Callable[[int], int]) -> None:
        self._transport = transport
        self._namespace_of = namespace_of

    def apply(self, changes: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Makes the changes in their order; the first one refused is raised as OSError naming it."""
        for verb, fields in changes:
            getattr(self, "_" + verb)(**fields)
        self._transport.flush()

    # links

    def _link_add(
        self,
        device: str,
        kind: str,
        data: Sequence[Any] = (),
        mtu: int | None = None,
        address: str | None = None,
        master: str | None = None,
        up: bool = True,
        peer: dict[str, Any] | None = None,
    ) -> None:
        values = [self._attribute(name, value) for name, value in data]
        if peer is not None:
            values.append(("VETH_INFO_PEER", self._peer(**peer)))
        info: list[Any] = [("IFLA_INFO_KIND", kind)]
        if values:
            info.append(("IFLA_INFO_DATA", {"attrs": values}))
        message = ifinfmsg()
        message["flags"] = message["change"] = IFF_UP if up else 0
        message["attrs"] = _given(
            IFLA_IFNAME=device,
            IFLA_MTU=mtu,
            IFLA_ADDRESS=address,
            IFLA_MASTER=self._transport.index(master) if master else None,
            IFLA_LINKINFO={"attrs": info},
        )
        self._transport.queue(message, NEWLINK, CREATE, f"ip link add {device} type {kind}")

    def _attribute(self, name: str, value: Any) -> tuple[str, Any]:
        return name, self._transport.index(value) if name.endswith(DEVICES) and isinstance(value, str) else value

    def _peer(self, device: str, node: int, mtu: int | None = None, address: str | None = None) -> dict[str, Any]:
        """The far end of a veth, born down: the kernel links the two ends only after it has made both."""
        namespace = self._namespace_of(node)
        attributes = _given(IFLA_IFNAME=device, IFLA_NET_NS_FD=namespace, IFLA_MTU=mtu, IFLA_ADDRESS=address)
        return {"index": 0, "flags": 0, "change": 0, "attrs": attributes}

    def _link_set(
        self,
        device: str,
        up: bool | None = None,
        mtu: int | None = None,
        address: str | None = None,
        master: str | None = None,
        nomaster: bool = False,
        kind: str | None = None,
        data: Sequence[Any] = (),
    ) -> None:
        message = ifinfmsg()
        message["index"] = self._transport.index(device)
        if up is not None:
            message["flags"] |= IFF_UP if up else 0
            message["change"] |= IFF_UP
        joined = 0 if nomaster else self._transport.index(master) if master else None
        attributes = _given(IFLA_MTU=mtu, IFLA_ADDRESS=address, IFLA_MASTER=joined)
        if kind is not None:
            values = {"attrs": [self._attribute(name, value) for name, value in data]}
            attributes.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", values)]}))
        message["attrs"] = attributes
        self._transport.queue(message, NEWLINK, CHANGE, f"ip link set {device}")

    def _link_del(self, device: str) -> None:
        message = ifinfmsg()
        message["index"] = self._transport.index(device)
        self._transport.queue(message, DELLINK, CHANGE, f"ip link del {device}")

    def _bridge_port(self, device: str, **flags: int) -> None:
        """`bridge link set`: flags under the names of bridge(8), e.g. bcast_flood=0."""
        names = {
            "flood": "UNICAST_FLOOD",
            "hairpin": "MODE",
            "mcast_router": "MULTICAST_ROUTER",
            "fastleave": "FAST_LEAVE",
        }
        message = ifinfmsg()
        message["family"] = socket.AF_BRIDGE
        message["index"] = self._transport.index(device)
        values = [("IFLA_BRPORT_" + names.get(name, name.upper()), value) for name, value in flags.items()]
        message["attrs"] = [("IFLA_PROTINFO", {"attrs": values}, NLA_F_NESTED)]
        words = " ".join(f"{name} {value}" for name, value in flags.items())
        self._transport.queue(message, SETLINK, CHANGE, f"bridge link set dev {device} {words}")

    # addresses, routes, neighbours

    def _address(self, device: str, address: str, peer: str | None, kind: int, flags: int, verb: str) -> None:
        interface = ipaddress.ip_interface(address)
        far = ipaddress.ip_interface(peer or address)
        message = ifaddrmsg()
        message["family"] = _family(str(interface.ip))
        message["prefixlen"] = far.network.prefixlen
        message["index"] = self._transport.index(device)
        message["attrs"] = [("IFA_LOCAL", str(interface.ip)), ("IFA_ADDRESS", str(far.ip))]
        words = f"{interface.ip} peer {peer}" if peer else address
        self._transport.queue(message, kind, flags, f"ip addr {verb} {words} dev {device}")

    def _addr_add(self, device: str, address: str, peer: str | None = None) -> None:
        """An address; with `peer`, an address or a prefix, the connected route is to that (ip-address(8))."""
        self._address(device, address, peer, NEWADDR, CREATE, "add")

    def _addr_del(self, device: str, address: str, peer: str | None = None) -> None:
        self._address(device, address, peer, DELADDR, CHANGE, "del")

    def _route(
        self,
        kind: int,
        flags: int,
        verb: str,
        to: str,
        device: str | None = None,
        via: str | None = None,
        source: str | None = None,
        type: str = "unicast",
        mtu: int | None = None,
    ) -> None:
        network = ipaddress.ip_network(to)
        message = rtmsg()
        message["family"] = _family(to)
        message["dst_len"] = network.prefixlen
        message["table"] = 254
        message["type"] = ROUTE_TYPES[type]
        # `ip route del` sends any scope and protocol (nowhere, unspec); an addition is static, like `ip`'s own (boot)
        message["scope"] = 255 if kind == DELROUTE else SCOPE_UNIVERSE if via or device is None else SCOPE_LINK
        message["proto"] = 0 if kind == DELROUTE else 3
        message["attrs"] = _given(
            RTA_DST=str(network.network_address) if network.prefixlen else None,
            RTA_OIF=self._transport.index(device) if device else None,
            RTA_GATEWAY=via,
            RTA_PREFSRC=source,
            RTA_METRICS=None if mtu is None else {"attrs": [("RTAX_MTU", mtu)]},
        )
        words = f"ip route {verb} {to}" + (f" via {via}" if via else "") + (f" dev {device}" if device else "")
        self._transport.queue(message, kind, flags, words)

    def _route_add(self, to: str, **fields: Any) -> None:
        self._route(NEWROUTE, CREATE, "add", to, **fields)

    def _route_replace(self, to: str, **fields: Any) -> None:
        self._route(NEWROUTE, REPLACE, "replace", to, **fields)

    def _route_del(self, to: str, **fields: Any) -> None:
        self._route(DELROUTE, CHANGE, "del", to, **fields)

    def _neigh_add(self, device: str, to: str, lladdr: str) -> None:
        """A permanent neighbour."""
        message = _entry(_family(to), self._transport.index(device), NDA_DST=to, NDA_LLADDR=lladdr)
        message["state"] = NUD_PERMANENT
        self._transport.queue(message, NEWNEIGH, REPLACE, f"ip neigh replace {to} lladdr {lladdr} dev {device}")

    def _neigh_del(self, device: str, to: str) -> None:
        message = _entry(_family(to), self._transport.index(device), NDA_DST=to)
        self._transport.queue(message, DELNEIGH, CHANGE, f"ip neigh del {to} dev {device}")

    def _fdb_replace(self, device: str, lladdr: str) -> None:
        """A static forwarding entry of the bridge that `device` is a port of."""
        message = _entry(socket.AF_BRIDGE, self._transport.index(device), NDA_LLADDR=lladdr)
        message["state"] = NUD_NOARP
        message["flags"] = NTF_MASTER
        self._transport.queue(message, NEWNEIGH, REPLACE, f"bridge fdb replace {lladdr} dev {device}")

    def _fdb_append(self, device: str, lladdr: str, dst: str) -> None:
        """One more endpoint of a VXLAN device that frames for a MAC address are sent to; all zeros: floods."""
        message = _entry(socket.AF_BRIDGE, self._transport.index(device), NDA_LLADDR=lladdr, NDA_DST=dst)
        message["state"] = NUD_NOARP | NUD_PERMANENT
        message["flags"] = NTF_SELF
        self._transport.queue(message, NEWNEIGH, APPEND, f"bridge fdb append {lladdr} dev {device} dst {dst}")

    # filters

    def _filter_add(self, device: str, direction: str, program: Sequence[Sequence[int]], name: str) -> None:
        """
        `tc filter add dev DEVICE ingress|egress bpf direct-action`: a classic BPF program over the frame, from its
        Ethernet header on, that returns a TC_ACT_ code.  The clsact qdisc is made when the device has none.
        """
        message = _traffic(self._transport.index(device), CLSACT_PARENT)
        message["handle"] = CLSACT
        message["attrs"] = [("TCA_KIND", "clsact")]
        self._transport.queue(message, NEWQDISC, CREATE, f"tc qdisc add dev {device} clsact")
        # a second filter on the same device finds the qdisc there
        with contextlib.suppress(FileExistsError):
            self._transport.flush()
        code = b"".join(struct.pack("=HBBI", *step) for step in program)
        message = _traffic(self._transport.index(device), BLOCKS[direction], _FilterMessage)
        message["info"] = socket.htons(ETH_P_ALL)
        options = _given(
            TCA_BPF_OPS_LEN=len(program),
            TCA_BPF_OPS=code,
            TCA_BPF_NAME=name,
            TCA_BPF_FLAGS=TCA_BPF_FLAG_ACT_DIRECT,
        )
        message["attrs"] = [("TCA_KIND", "bpf"), ("TCA_OPTIONS", {"attrs": options})]
        self._transport.queue(message, NEWTFILTER, CREATE, f"tc filter add dev {device} {direction} bpf {name}")

    def _delay_add(self, device: str, milliseconds: float) -> None:
        """`tc qdisc add dev DEVICE root netem delay`: what leaves the device leaves it later, in order."""
        message = _traffic(self._transport.index(device), ROOT)
        delay = int(milliseconds * 1000)  # us, of which pyroute2 makes the kernel's ticks
        options = {"delay": time2tick(delay), "limit": NETEM_LIMIT, "loss": 0, "gap": 0, "duplicate": 0, "jitter": 0}
        message["attrs"] = [("TCA_KIND", "netem"), ("TCA_OPTIONS", {"attrs": [], **options})]
        self._transport.queue(message, NEWQDISC, CREATE, f"tc qdisc add dev {device} root netem delay {milliseconds}ms")

    def _filter_clear(self, device: str, direction: str) -> None:
        """Removes every filter of one direction."""
        message = _traffic(self._transport.index(device), BLOCKS[direction])
        self._transport.queue(message, DELTFILTER, CHANGE, f"tc filter del dev {device} {direction}")


def _entry(family: int, index: int, **attributes: Any) -> ndmsg:
    """A neighbour or forwarding entry of a device."""
    message = ndmsg()
    message["family"] = family
    message["ifindex"] = index
    message["attrs"] = _given(**attributes)
    return message


def _traffic(index: int, parent: int, kind: type[nlmsg] = tcmsg) -> nlmsg:
    """A queueing discipline or filter of a device."""
    message = kind()
    message["family"] = socket.AF_UNSPEC
    message["index"] = index
    message["parent"] = parent
    return message


def _given(**attributes: Any) -> list[tuple[str, Any]]:
    """The attributes that have a value."""
    return [(name, value) for name, value in attributes.items() if value is not None]


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
