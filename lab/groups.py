"""
Multicast groups of a run's own: unlike those of another run, and not in use on the hosts.

    groups.fresh()                     a group of 224.0.0.0/8
    groups.fresh(groups.SCOPED)        one of 239.0.0.0/8
    groups.avoid({"239.1.2.3"})        a host is a member: no test gets this one

A host that is a member already receives a group that a test did not join there.  Groups with a meaning of their own
(224.0.0.x) are typed where they are tested.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

ARTICLE = IPv4Network("224.64.0.0/10")
"""In 224.0.0.0/8, which the article's multicast route covers; reserved, so that no program uses it (RFC 5771)."""
RESERVED = IPv4Network("225.0.0.0/9")
SOURCE_SPECIFIC = IPv4Network("232.64.0.0/10")  # RFC 4607
EXAMPLES = IPv4Network("233.252.0.0/24")  # MCAST-TEST-NET, RFC 6676
SCOPED = IPv4Network("239.0.0.0/9")  # RFC 2365, local and reserved scopes
ORGANIZATION = IPv4Network("239.192.0.0/14")  # RFC 2365 section 6.2

PARTS = {
    "article": ARTICLE,
    "reserved": RESERVED,
    "source-specific": SOURCE_SPECIFIC,
    "examples": EXAMPLES,
    "scoped": SCOPED,
    "organization": ORGANIZATION,
}
"""Parts of the range that differ in their prefix or purpose, by name."""

SAME_MAC = 1 << 23
"""Groups that differ by this have one MAC address: Ethernet holds 23 of 28 bits (RFC 1112 section 6.4)."""

_avoided: set[IPv4Address] = set()
_given: dict[IPv4Address, None] = {}


def avoid(groups: Iterable[str]) -> None:
    """Give no test these groups."""
    _avoided.update(map(IPv4Address, groups))


def given() -> list[str]:
    """Return every group that was given to a test."""
    return [str(group) for group in _given]


def fresh(part: IPv4Network = ARTICLE) -> str:
    """Return a group in a part of the range that was not used before; in a small part that is used up, any."""
    for _ in range(part.num_addresses):
        group = part[random.randrange(1, part.num_addresses - 1)]
        if group not in _avoided and group not in _given:
            break
    _given[group] = None
    return str(group)


def several(count: int, part: IPv4Network = ORGANIZATION) -> list[str]:
    """Return so many fresh groups."""
    return [fresh(part) for _ in range(count)]


def twin(group: str) -> str:
    """Return the group whose frames have the same MAC address, and whose first octet is the same."""
    return str(IPv4Address(int(IPv4Address(group)) ^ SAME_MAC))


def twin_in(part: IPv4Network, group: str) -> str:
    """Return the group in another part of the range, of 23 bits at least, whose frames have the same MAC address."""
    return str(part[int(IPv4Address(group)) & (SAME_MAC - 1)])


def mac(group: str) -> str:
    """Return the destination MAC address of a group's frames (RFC 1112 section 6.4)."""
    return "01:00:5e:" + (int(IPv4Address(group)) & (SAME_MAC - 1)).to_bytes(3, "big").hex(":")
