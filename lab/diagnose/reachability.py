"""
Basics: whether the hosts receive each other at all, by single datagrams of a trial.

    overlay    broadcast and multicast from the hosts (of many, a few) to all others, unicast between the senders
    underlay   unicast between the hub and the spokes

What is lost here is worth a diagnosis before the first test waits for it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from lab.diagnose.senders import few, impatient
from lab.diagnose.trial import exchanged, to_ends, to_group, to_hosts
from lab.groups import ORGANIZATION, fresh
from lab.laboratory import Lab
from lab.probes.deadlines import Flow


@dataclass(frozen=True)
class Reachability:
    """The ways on which nothing arrived; `dead`: nothing arrived on the overlay at all."""

    lost: frozenset[Flow]
    dead: bool


def tried(lab: Lab) -> Reachability:
    """What arrives of one datagram each."""
    senders, group = few(lab), fresh(ORGANIZATION)
    make = functools.partial(exchanged, lab, impatient(lab), follow=False)
    overlay = [
        *make([one for each in senders for one in to_hosts(lab, each, senders, count=1)]),
        *make([one for each in senders for one in to_group(lab, each, group, count=1)], group=group),
    ]
    underlay = make(to_ends(lab, senders, count=1), network="underlay")
    lost = frozenset(way for exchange in (*overlay, *underlay) for way in exchange.silent)
    return Reachability(lost, lost.issuperset(way for exchange in overlay for way in exchange.ways))
