"""
Clouds that deliver multicast by themselves, as their documents describe it: members of a group receive it without an
overlay, by their NICs.

    AWS Transit Gateway: the subnets of a multicast domain (docs/designs.md has the sources, fact by fact)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Groups:
    """
    How a cloud delivers multicast by itself, as its documents say; it delivers it to members alone.

    `mtu`: octets of the largest packet to a group.  `query_interval` (seconds) is that of its IGMPv2 queries, and
    `queries_missed` is after how many without an answer a member is removed.  `most_members`: of one group.
    """

    mtu: int
    query_interval: int
    queries_missed: int
    most_members: int


TRANSIT_GATEWAY = Groups(mtu=8500, query_interval=120, queries_missed=3, most_members=100)
