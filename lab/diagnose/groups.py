"""
The groups, ports and sizes that a host's own configuration names: what is routed or filtered apart is tried apart.

A trial cannot try every group, port and size.  One for each part of a range that a route or a firewall's rule names is
enough to see what they do to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from lab.model import MULTICAST
from lab.records import FirewallRule, Route

MOST = 8  # of each; groups in addition to the trial's own: a socket may join 20 (igmp_max_memberships)
ADDRESS = re.compile(r"\b2(?:2[4-9]|3\d)(?:\.\d{1,3}){3}(?:/[\d.]+)?")
MAC = re.compile(r"\b0?1:0?0:5e(?::[0-9a-f]{1,2}){3}", re.IGNORECASE)
PORT = re.compile(r"(?:-p udp .*--(?:dports?|destination-port)|--ip-dport|\b(?:udp|th) dport) (?:\{ )?(\d+)")
LENGTH = re.compile(r"(?:--length|\b(?:ip|meta) length) (?:\{ )?(\d+)(?:[:-](\d+))?")
HIGH = 239 << 24  # a MAC stands for 32 groups (RFC 1112): of them the one in 239.0.0.0/9 or 239.128.0.0/9


def named(routes: Iterable[Route], rules: Iterable[FirewallRule]) -> list[str]:
    """One group of each part of 224.0.0.0/4 that a host's routes (as read) or its firewall's rules name."""
    found = dict.fromkeys([*_of_routes(routes), *(group for rule in rules for group in _of_rule(rule))])
    return [str(group) for group in found]


def ports(rules: Iterable[FirewallRule], tunnel: int | None) -> list[int]:
    """The UDP ports that rules of firewalls name, but for the tunnels' own."""
    found = dict.fromkeys(int(port) for rule in rules for port in PORT.findall(rule.rule))
    return [port for port in found if port not in (0, tunnel)][:MOST]


def sizes(rules: Iterable[FirewallRule]) -> list[int]:
    """The lengths of packets, in octets, that rules of firewalls name: of a range its end."""
    found = dict.fromkeys(int(last or first) for rule in rules for first, last in LENGTH.findall(rule.rule))
    return list(found)[:MOST]


def _of_routes(routes: Iterable[Route]) -> Iterator[IPv4Address]:
    for route in routes:
        if route.family == "inet" and route.prefixlen > MULTICAST.prefixlen and route.to.subnet_of(MULTICAST):
            yield _member(route.to)


def _of_rule(rule: FirewallRule) -> Iterator[IPv4Address]:
    text = rule.rule
    for word in ADDRESS.findall(text):
        try:
            network = IPv4Network(word, strict=False)
        except ValueError:
            continue
        if network.subnet_of(MULTICAST) and network != MULTICAST:
            yield _member(network)
    for word in MAC.findall(text):
        octets = [int(octet, 16) for octet in word.split(":")]
        yield _member(IPv4Network(HIGH + (octets[3] & 0x7F) * 65536 + octets[4] * 256 + octets[5]))


def _member(network: IPv4Network) -> IPv4Address:
    """A group of a part of the range; of one that holds the link's own groups, none of the first."""
    if network.prefixlen == network.max_prefixlen:
        return network.network_address
    return network.network_address + min(200, network.num_addresses - 1)
