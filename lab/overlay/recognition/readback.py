"""
What is configured on a machine, read back: links, tunnels, bridge ports, addresses, routes, sysctls.

The same reading serves a lab (to compare with what was built) and a live host (to find out what is there).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network
from typing import Any

from lab import tunnels
from lab.clouds.firmware import Carrier
from lab.errors import CheckFailed
from lab.machines.base import Call
from lab.machines.node import Agent, Node, ask_all
from lab.stack.records import ANY_MAC, MAIN_TABLE, Address, FdbEntry, Link, Port, Route, typed
from lab.tunnels import KINDS
from lab.tunnels.kind import TunnelEnd

READINGS = ("links", "ports", "addresses", "routes", "fdb")
IPV6_OFF = "net.ipv6.conf.default.disable_ipv6"
DEFAULT_TTL = "net.ipv4.ip_default_ttl"
BROADCAST_PING = "net.ipv4.icmp_echo_ignore_broadcasts"
SYSCTLS = (
    IPV6_OFF,
    DEFAULT_TTL,
    BROADCAST_PING,
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.ip_forward",
    "net.bridge.bridge-nf-call-iptables",
)
VRRP = ":0070 "  # of /proc/net/raw: the sockets of protocol 112
OUTSIDE = "198.51.100.1"  # TEST-NET-2 (RFC 5737): only a default route leads there
COMMON_TTL = 64  # what Linux takes by default (IPDEFTTL)


@dataclass(frozen=True)
class Device(Link):
    """One link: with the end of the tunnel that it is, and the port of a bridge that it is."""

    tunnel: TunnelEnd | None = None
    port: Port | None = None

    @property
    def remote(self) -> str | None:
        """The remote of the tunnel that it is; None: it is none, or leads to no host or to several."""
        return self.tunnel.remote if self.tunnel else None

    @property
    def local(self) -> str | None:
        """The outer address that the tunnel that it is starts at, if that is pinned."""
        return self.tunnel.local if self.tunnel else None

    @property
    def vni(self) -> int | None:
        """The network identifier of the VXLAN device that it is."""
        return self.tunnel.vni if self.tunnel else None

    def flag(self, word: str) -> int | None:
        """A flag of the port that it is; None: it is none, or this kernel has no such flag."""
        return self.port.flags.get(word) if self.port else None


@dataclass(frozen=True)
class ConfiguredNode:
    """One node as it is."""

    name: str
    devices: Mapping[str, Device]
    addresses: Sequence[tuple[str, IPv4Interface]]
    routes: Sequence[Route]
    broadcasts: frozenset[str]
    sysctls: Mapping[str, str | None]
    addresses6: Sequence[tuple[str, IPv6Interface]] = ()
    routes6: Sequence[Route] = ()
    """The routes of IPv6 in the main table; `routes` are those of IPv4."""
    floods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By VXLAN device, where its forwarding table floods to."""
    vrrp: bool = False
    """Whether a program receives VRRP: a raw socket of protocol 112 (RFC 5798)."""

    def device(self, name: str) -> Device:
        """A device that must be there; CheckFailed when it is not."""
        if name not in self.devices:
            raise CheckFailed(f"{self.name} has no device {name}, but {', '.join(self.devices)}")
        return self.devices[name]

    def addresses_of(self, device: str) -> list[IPv4Interface]:
        return [address for name, address in self.addresses if name == device]

    def device_with(self, address: str) -> str | None:
        """The device that has an address."""
        own = {str(interface.ip): name for name, interface in reversed(self.addresses)}
        own6 = {str(interface.ip): name for name, interface in reversed(self.addresses6)}
        return own.get(address) or own6.get(address)

    def tunnels(self) -> list[Device]:
        """Configured tunnels; the kernel's own fallback devices have no remote and do not count."""
        return [device for device in self.devices.values() if device.remote]

    def leading(self) -> list[Device]:
        """Configured tunnels, and VXLAN devices without a remote that flood to some host."""
        return [device for device in self.devices.values() if self.remotes(device.name)]

    def remotes(self, device: str) -> tuple[str, ...]:
        """The addresses that a tunnel's device leads to: its remote, or all of its flood list."""
        tunnel = self.devices[device].tunnel if device in self.devices else None
        return () if tunnel is None else (tunnel.remote,) if tunnel.remote else self.floods.get(device, ())

    def ports_of(self, bridge: str) -> list[Device]:
        return [device for device in self.devices.values() if device.master == bridge]

    def master_of(self, device: str) -> Device | None:
        """The bridge, bond or VRF that a device belongs to."""
        found = self.devices.get(device)
        return self.devices.get(found.master or "") if found else None

    @property
    def default_route(self) -> Route | None:
        return self.route_to(OUTSIDE)

    def route_to(self, address: str) -> Route | None:
        """The route of the main table that is taken: the longest match, of equal ones that with the lowest metric."""
        routes = self.routes6 if ":" in address else self.routes
        matching = [route for route in routes if ip_address(address) in ip_network(route.dst)]
        return max(matching, key=lambda route: (route.prefixlen, -route.metric), default=None)

    def device_to(self, address: str) -> str | None:
        """The device that the route to an address leads out of."""
        route = self.route_to(address)
        return route.dev if route else None


ConfiguredHosts = Mapping[str, ConfiguredNode]
"""Each host's, by its name."""


def read(nodes: Sequence[Node]) -> dict[str, ConfiguredNode]:
    """Reads the nodes, all machines at once, one round trip each."""
    calls: list[tuple[Node, Call[Any]]] = []
    for node in nodes:
        calls += [(node, node.call(Agent.read, what=what)) for what in READINGS]
        calls.append((node, node.call(Agent.sysctl_read, names=list(SYSCTLS))))
        calls.append((node, node.call(Agent.read_net, name="raw", words=[VRRP])))
    answers = iter(ask_all(calls))
    found = {}
    for node in nodes:
        readings = {what: typed(what, next(answers)) for what in READINGS}
        found[node.name] = replace(seen(node.name, readings, next(answers)), vrrp=bool(next(answers)))
    return found


def seen(name: str, readings: Mapping[str, Sequence[Any]], sysctls: Mapping[str, str | None]) -> ConfiguredNode:
    """One node from what was read of it: READINGS by name, and its sysctls."""
    ports = {port.dev: port for port in readings["ports"]}
    ttl = int(sysctls.get(DEFAULT_TTL) or COMMON_TTL)
    devices = {
        link.name: Device(**vars(link), tunnel=_tunnel(link, ttl), port=ports.get(link.name))
        for link in readings["links"]
    }
    addresses: Sequence[Address] = readings["addresses"]
    routes: Sequence[Route] = readings["routes"]
    main = [route for route in routes if route.table == MAIN_TABLE]
    return ConfiguredNode(
        name=name,
        devices=devices,
        addresses=[
            (str(one.dev), IPv4Interface(f"{one.local}/{one.prefixlen}")) for one in addresses if one.family == "inet"
        ],
        routes=[route for route in main if route.family == "inet"],
        broadcasts=frozenset(route.dst.partition("/")[0] for route in routes if route.type == "broadcast"),
        sysctls=sysctls,
        addresses6=[
            (str(one.dev), IPv6Interface(f"{one.local}/{one.prefixlen}")) for one in addresses if one.family == "inet6"
        ],
        routes6=[route for route in main if route.family == "inet6"],
        floods=_floods(readings.get("fdb", ())),
    )


def _floods(entries: Sequence[FdbEntry]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.lladdr == ANY_MAC and entry.dst and entry.dev:
            found.setdefault(entry.dev, []).append(entry.dst)
    return {device: tuple(to) for device, to in found.items()}


def _tunnel(link: Link, default_ttl: int) -> TunnelEnd | None:
    return KINDS[link.kind].read(link.details, default_ttl) if link.kind in KINDS else None


def carrier_of(kind: str, hosts: Iterable[ConfiguredNode]) -> Carrier:
    """The protocol of an overlay's tunnel packets on the underlay; of UDP with the hosts' port, if there is one."""
    known = tunnels.kind(kind)
    ends = [device.tunnel for seen in hosts for device in seen.tunnels()] if known.port else []
    return Carrier(known.protocol, next((end.port for end in ends if end and end.port), known.port))
