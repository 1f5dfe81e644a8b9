"""
Basics: whether the hosts receive each other at all, by single datagrams of a trial.

    overlay    broadcast and multicast from the hosts (of many, a few) to all others, unicast between the senders
    underlay   unicast between the hub and the spokes

What is lost here is worth a diagnosis before the first test waits for it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from lab.diagnose.senders import few, impatient
from lab.diagnose.trial import exchanged, to_ends, to_group, to_hosts
from lab.groups import ORGANIZATION, fresh
from lab.laboratory import Lab
from lab.probes.deadlines import Flow, FlowKind

TO_ALL: Sequence[FlowKind] = ("broadcast", "multicast")


def lost(lab: Lab) -> frozenset[Flow]:
    """The ways on which nothing arrived."""
    senders, group = few(lab), fresh(ORGANIZATION)
    make = functools.partial(exchanged, lab, impatient(lab), follow=False)
    exchanges = [
        *make([one for each in senders for one in to_hosts(lab, each, senders, count=1)]),
        *make([one for each in senders for one in to_group(lab, each, group, count=1)], group=group),
        *make(to_ends(lab, senders, count=1), network="underlay"),
    ]
    return frozenset(way for exchange in exchanges for way in exchange.silent)


def dead(lab: Lab, lost_ways: frozenset[Flow]) -> bool:
    """Whether no broadcast, multicast or unicast at all arrives on the overlay."""
    senders = few(lab)
    kinds = _to_all(lab)
    to_all = {Flow("overlay", kind, one.name, name) for kind in kinds for one in senders for name in lab.others(one)}
    between = {Flow("overlay", "unicast", one.name, other.name) for one in senders for other in senders}
    return lost_ways >= to_all | {way for way in between if way.receiver in lab.others(way.sender)}


def _to_all(lab: Lab) -> Sequence[FlowKind]:
    """What several hosts receive: no cloud that delivers groups by itself delivers broadcast."""
    return TO_ALL[1:] if lab.topology.native else TO_ALL
