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

from pyroute2.netlink import NLA_F_NESTED, nla
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from lab.agent import rtnl
from lab.agent.rtnl import Transport, attribute
from lab.agent.stack import reading

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_METRICS, RTAX_MTU = 1, 4, 5, 7, 8, 2  # linux/rtnetlink.h
IFA_ADDRESS, IFA_LOCAL, NDA_DST, NDA_LLADDR = 1, 2, 1, 2
MAIN_TABLE = 254
IFF_UP = 1
NTF_SELF, NTF_MASTER = 0x02, 0x04
ROOT = 0xFFFFFFFF
BLOCKS = {"ingress": rtnl.INGRESS, "egress": 0xFFFFFFF3}
NETEM_LIMIT = 1000  # packets that may wait, as tc has it
TICK = 64  # ns, a unit of the packet scheduler's clock
SCOPE_LINK, SCOPE_UNIVERSE = 253, 0
ROUTE_TYPES = {name: number for number, name in reading.ROUTE_TYPES.items()}


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
        self._transport.queue(message, rtnl.NEWLINK, rtnl.CREATE, f"ip link add {device} type {kind}")

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
        self._transport.queue(message, rtnl.NEWLINK, rtnl.CHANGE, f"ip link set {device}")

    def _link_del(self, device: str) -> None:
        message = ifinfmsg()
        message["index"] = self._transport.index(device)
        self._transport.queue(message, rtnl.DELLINK, rtnl.CHANGE, f"ip link del {device}")

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
        self._transport.queue(message, rtnl.SETLINK, rtnl.CHANGE, f"bridge link set dev {device} {words}")

    # addresses, routes, neighbours

    def _address(self, device: str, address: str, peer: str | None, kind: int, flags: int, verb: str) -> None:
        interface = ipaddress.ip_interface(address)
        far = ipaddress.ip_interface(peer or address)
        head = struct.pack("=BBBBi", _family(address), far.network.prefixlen, 0, 0, self._transport.index(device))
        body = head + attribute(IFA_LOCAL, interface.ip.packed) + attribute(IFA_ADDRESS, far.ip.packed)
        words = f"{interface.ip} peer {peer}" if peer else address
        self._transport.queue_raw(kind, flags, body, f"ip addr {verb} {words} dev {device}")

    def _addr_add(self, device: str, address: str, peer: str | None = None) -> None:
        """An address; with `peer`, an address or a prefix, the connected route is to that (ip-address(8))."""
        self._address(device, address, peer, rtnl.NEWADDR, rtnl.CREATE, "add")

    def _addr_del(self, device: str, address: str, peer: str | None = None) -> None:
        self._address(device, address, peer, rtnl.DELADDR, rtnl.CHANGE, "del")

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
        # `ip route del` sends any scope and protocol (nowhere, unspec); an addition is static, like `ip`'s own (boot)
        scope = 255 if kind == rtnl.DELROUTE else SCOPE_UNIVERSE if via or device is None else SCOPE_LINK
        origin = (0 if kind == rtnl.DELROUTE else 3, scope, ROUTE_TYPES[type])
        body = struct.pack("=BBBBBBBBI", _family(to), network.prefixlen, 0, 0, MAIN_TABLE, *origin, 0)
        body += attribute(RTA_DST, network.network_address.packed) if network.prefixlen else b""
        body += attribute(RTA_OIF, struct.pack("=I", self._transport.index(device))) if device else b""
        body += attribute(RTA_GATEWAY, _octets(via)) if via else b""
        body += attribute(RTA_PREFSRC, _octets(source)) if source else b""
        body += attribute(RTA_METRICS, attribute(RTAX_MTU, struct.pack("=I", mtu))) if mtu is not None else b""
        words = f"ip route {verb} {to}" + (f" via {via}" if via else "") + (f" dev {device}" if device else "")
        self._transport.queue_raw(kind, flags, body, words)

    def _route_add(self, to: str, **fields: Any) -> None:
        self._route(rtnl.NEWROUTE, rtnl.CREATE, "add", to, **fields)

    def _route_replace(self, to: str, **fields: Any) -> None:
        self._route(rtnl.NEWROUTE, rtnl.REPLACE, "replace", to, **fields)

    def _route_del(self, to: str, **fields: Any) -> None:
        self._route(rtnl.DELROUTE, rtnl.CHANGE, "del", to, **fields)

    def _neighbour(self, device: str, state: int, flags: int, to: str, lladdr: str, *, bridge: bool = False) -> bytes:
        """A neighbour, or a forwarding entry of a bridge; `to` and `lladdr` may be empty."""
        family = socket.AF_BRIDGE if bridge else _family(to)
        body = struct.pack("=BxxxiHBB", family, self._transport.index(device), state, flags, 0)
        body += attribute(NDA_DST, _octets(to)) if to else b""
        return body + (attribute(NDA_LLADDR, bytes.fromhex(lladdr.replace(":", ""))) if lladdr else b"")

    def _neigh_add(self, device: str, to: str, lladdr: str) -> None:
        """A permanent neighbour."""
        body = self._neighbour(device, rtnl.NUD_PERMANENT, 0, to, lladdr)
        self._transport.queue_raw(
            rtnl.NEWNEIGH, rtnl.REPLACE, body, f"ip neigh replace {to} lladdr {lladdr} dev {device}"
        )

    def _neigh_del(self, device: str, to: str) -> None:
        body = self._neighbour(device, 0, 0, to, "")
        self._transport.queue_raw(rtnl.DELNEIGH, rtnl.CHANGE, body, f"ip neigh del {to} dev {device}")

    def _fdb_replace(self, device: str, lladdr: str) -> None:
        """A static forwarding entry of the bridge that `device` is a port of."""
        body = self._neighbour(device, rtnl.NUD_NOARP, NTF_MASTER, "", lladdr, bridge=True)
        self._transport.queue_raw(rtnl.NEWNEIGH, rtnl.REPLACE, body, f"bridge fdb replace {lladdr} dev {device}")

    def _fdb_append(self, device: str, lladdr: str, dst: str) -> None:
        """One more endpoint of a VXLAN device that frames for a MAC address are sent to; all zeros: floods."""
        body = self._neighbour(device, rtnl.NUD_NOARP | rtnl.NUD_PERMANENT, NTF_SELF, dst, lladdr, bridge=True)
        self._transport.queue_raw(
            rtnl.NEWNEIGH, rtnl.APPEND, body, f"bridge fdb append {lladdr} dev {device} dst {dst}"
        )

    # filters

    def _filter_add(self, device: str, direction: str, program: Sequence[Sequence[int]], name: str) -> None:
        """
        `tc filter add dev DEVICE ingress|egress bpf direct-action`: a classic BPF program over the frame, from its
        Ethernet header on, that returns a TC_ACT_ code.  The clsact qdisc is made when the device has none.
        """
        index = self._transport.index(device)
        self._transport.queue_raw(rtnl.NEWQDISC, rtnl.CREATE, rtnl.clsact(index), f"tc qdisc add dev {device} clsact")
        # a second filter on the same device finds the qdisc there
        with contextlib.suppress(FileExistsError):
            self._transport.flush()
        body = rtnl.filter_at(index, BLOCKS[direction], program, name)
        self._transport.queue_raw(
            rtnl.NEWTFILTER, rtnl.CREATE, body, f"tc filter add dev {device} {direction} bpf {name}"
        )

    def _delay_add(self, device: str, milliseconds: float) -> None:
        """`tc qdisc add dev DEVICE root netem delay`: what leaves the device leaves it later, in order."""
        body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, self._transport.index(device), 0, ROOT, 0)
        settings = struct.pack("=IIIIII", int(milliseconds * 1e6 / TICK), NETEM_LIMIT, 0, 0, 0, 0)
        body += attribute(rtnl.TCA_KIND, b"netem\0") + attribute(rtnl.TCA_OPTIONS, settings)
        self._transport.queue_raw(
            rtnl.NEWQDISC, rtnl.CREATE, body, f"tc qdisc add dev {device} root netem delay {milliseconds}ms"
        )

    def _filter_clear(self, device: str, direction: str) -> None:
        """Removes every filter of one direction."""
        index = self._transport.index(device)
        body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, 0, BLOCKS[direction], 0)
        self._transport.queue_raw(rtnl.DELTFILTER, rtnl.CHANGE, body, f"tc filter del dev {device} {direction}")


def _given(**attributes: Any) -> list[tuple[str, Any]]:
    """The attributes that have a value."""
    return [(name, value) for name, value in attributes.items() if value is not None]


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _octets(address: str) -> bytes:
    return ipaddress.ip_address(address).packed
