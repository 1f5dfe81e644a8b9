"""
Basics: whether the hosts receive each other at all, in two checks of a few milliseconds.

    overlay    broadcast and multicast from the hosts (of many, a few) to all others, unicast between the senders
    underlay   unicast between the hub and the spokes

What is lost here is worth a diagnosis before the first test waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lab.diagnose.senders import GRACE, few, joined
from lab.errors import EnvironmentProblem, OvercastError
from lab.groups import ORGANIZATION, fresh
from lab.host import Host
from lab.laboratory import Lab
from lab.probes.deadlines import Flow, FlowKind
from lab.probes.fences import ANY
from lab.probes.listening import Listening

TO_ALL: Sequence[FlowKind] = ("broadcast", "multicast")
Sent = Mapping[bytes, Sequence[Flow]]
"""The ways that each datagram takes."""


def lost(lab: Lab) -> frozenset[Flow]:
    """The ways on which nothing arrived."""
    return frozenset([*_on_overlay(lab), *_on_underlay(lab)])


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


def _on_overlay(lab: Lab) -> Iterator[Flow]:
    senders = few(lab)
    group: str | None = fresh(ORGANIZATION)
    try:
        with lab.listen(lab.plans, group=group):
            pass
    except EnvironmentProblem:
        raise
    except (OSError, OvercastError):  # a host that cannot join
        group = None
    sent: dict[bytes, Sequence[Flow]] = {}
    with lab.listen(lab.plans, group=group, bind=ANY, grace=GRACE, patience=None) as heard:
        for sender in senders:
            others = lab.others(sender)
            if "broadcast" in _to_all(lab):
                sent |= _send(
                    sender, lab.everyone, [Flow("overlay", "broadcast", sender.name, name) for name in others]
                )
            if group:
                sent |= _send(sender, group, [Flow("overlay", "multicast", sender.name, name) for name in others])
            for other in senders:
                if other.name in others:
                    sent |= _send(sender, other.address(), [Flow("overlay", "unicast", sender.name, other.name)])
    yield from _missing(sent, heard)
    if group is None:
        yield from (Flow("overlay", "multicast", one.name, name) for one in senders for name in lab.others(one))


def _on_underlay(lab: Lab) -> Iterator[Flow]:
    hosts = few(lab)
    sent: dict[bytes, Sequence[Flow]] = {}
    with lab.listen(hosts, network="underlay", grace=GRACE, patience=None) as heard:
        for sender, receiver in joined(lab, hosts):
            way = Flow("underlay", "unicast", sender.name, receiver.name)
            sent |= _send(sender, receiver.address("underlay"), [way])
    yield from _missing(sent, heard)


def _send(sender: Host, to: str, ways: Sequence[Flow]) -> Sent:
    """Sends one datagram; one that the sender's kernel refuses is lost on all of its ways."""
    return {sender.udp.send(to=to, lost_if_refused=True).payload: ways}


def _missing(sent: Sent, heard: Listening) -> Iterator[Flow]:
    for payload, ways in sent.items():
        yield from (way for way in ways if payload not in heard.payloads[way.receiver])
