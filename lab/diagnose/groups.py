"""
The groups, ports, sizes and classes of traffic that a host's own configuration names: they are tried apart.

A trial cannot try every group, port and size.  One for each part of a range that a route or a firewall's rule names is
enough to see what they do to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from lab.clouds.firmware import UDP
from lab.firewall.rules import FirewallRule
from lab.model import MULTICAST
from lab.stack.records import Filter, Route, Rule

MOST = 8  # of each; groups in addition to the trial's own: a socket may join 20 (igmp_max_memberships)
UDP_HEADERS = 28  # octets of IPv4 and UDP
EVERY_GROUP = int(MULTICAST[0]), int(MULTICAST[-1])
MAC = re.compile(r"0?1:0?0:5e(?::[0-9a-f]{1,2}){3}", re.IGNORECASE)
HIGH = 239 << 24  # a MAC stands for 32 groups (RFC 1112): of them the one in 239.0.0.0/9 or 239.128.0.0/9


def named(routes: Iterable[Route], rules: Iterable[FirewallRule], filters: Iterable[Filter]) -> list[str]:
    """One group of each part of 224.0.0.0/4 that a host's routes (as read), its firewall or its filters name."""
    of_rules = (group for rule in rules for group in _of_rule(rule))
    found = dict.fromkeys([*_of_routes(routes), *of_rules, *_of_filters(filters)])
    return [str(group) for group in found]


def apart(
    rules: Iterable[FirewallRule], policies: Iterable[Rule], filters: Sequence[Filter], tunnel: int | None
) -> list[dict[str, int]]:
    """
    What rules of firewalls and of routing and filters name, as a sender takes it.

    A UDP `port` other than the tunnels', a `size`, a `tos`.
    """
    rules, policies = list(rules), [rule for rule in policies if rule.family == "inet"]
    udp = [rule for rule in rules if rule.names(protocol=UDP) or not rule.matches("protocol")]
    ports = [low for low, _ in _numbers(udp, "port")]
    ports += [int(rule.dport.partition("-")[0]) for rule in policies if rule.dport and rule.ipproto in (None, UDP)]
    sizes = [high - UDP_HEADERS for _, high in _numbers(rules, "length") if high > UDP_HEADERS]
    marks = [low for low, _ in _numbers(rules, "tos")] + [rule.tos for rule in policies]
    ports += [int(value) for value in _compared(filters, "dst_port")]
    marks += [int(value) for value in _compared(filters, "ip_tos")]
    named = (("port", [port for port in ports if port != tunnel]), ("size", sizes), ("tos", marks))
    return [{name: one} for name, each in named for one in [*dict.fromkeys(filter(None, each))][:MOST]]


def _numbers(rules: Iterable[FirewallRule], field: str) -> list[tuple[int, int]]:
    matches = [one for rule in rules for one in rule.matches(field) if not one.negated]
    return list(dict.fromkeys(value for one in matches for value in one.values or ()))


def _compared(filters: Iterable[Filter], field: str) -> list[str]:
    """The values that filters of traffic control compare a field with."""
    words = [one.match.split() for one in filters]
    return [each[each.index(field) + 1] for each in words if field in each]


def _of_filters(filters: Iterable[Filter]) -> Iterator[IPv4Address]:
    for value in _compared(filters, "dst_ip"):
        network = IPv4Network(value, strict=False) if ":" not in value else MULTICAST
        if network != MULTICAST and network.subnet_of(MULTICAST):
            yield _member(network)


def _of_routes(routes: Iterable[Route]) -> Iterator[IPv4Address]:
    for route in routes:
        if route.family == "inet" and route.prefixlen > MULTICAST.prefixlen and route.to.subnet_of(MULTICAST):
            yield _member(route.to)


def _of_rule(rule: FirewallRule) -> Iterator[IPv4Address]:
    for low, high in _numbers([rule], "destination"):
        if (low, high) != EVERY_GROUP and EVERY_GROUP[0] <= low <= high <= EVERY_GROUP[1]:
            yield _member(next(iter(summarize_address_range(IPv4Address(low), IPv4Address(high)))))
    for word in (str(value) for one in rule.matches("dmac") for value in one.values or ()):
        if MAC.match(word):
            octets = [int(octet, 16) for octet in word.partition("/")[0].split(":")]
            yield _member(IPv4Network(HIGH + (octets[3] & 0x7F) * 65536 + octets[4] * 256 + octets[5]))


def _member(network: IPv4Network) -> IPv4Address:
    """A group of a part of the range; of one that holds the link's own groups, none of the first."""
    if network.prefixlen == network.max_prefixlen:
        return network.network_address
    return network.network_address + min(200, network.num_addresses - 1)
