"""
How far a multicast datagram goes: TTL 0 stays on the host, TTL 1 crosses the whole overlay, loop is the own copy.

    spoke1's socket <-loop- spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2
"""

import pytest

from fixtures.areas.underlay import returning
from lab import groups

GROUP = groups.fresh()

pytestmark = pytest.mark.requirement("MCAST-06")


def test_ttl_0_stays_on_the_host(overlay, sender, listen):
    """With TTL 0 only the sender's own member socket receives a datagram, and no frame leaves on any interface."""
    others = overlay.others(sender)

    with listen([sender, *others], group=GROUP) as heard:
        sender.udp.send(to=GROUP, ttl=0)

    heard.copies({sender.name: 1, **dict.fromkeys(others, 0)})
    assert [str(seen) for seen in heard.sightings()] == []


def test_default_ttl_of_1_crosses_the_overlay(overlay, sender, listen):
    """Without a TTL of its own a datagram has TTL 1 and arrives with it at every other node: a bridge is no hop."""
    others = overlay.others(sender)

    with listen(others, group=GROUP) as heard:
        sender.udp.send(to=GROUP)

    assert {name: heard.one(name).ttl for name in others} == dict.fromkeys(others, 1)


def test_ttl_arrives_as_it_was_set(overlay, sender, listen):
    """Whatever TTL the sender sets arrives unchanged at every other node."""
    others = overlay.others(sender)
    ttls = [1, 2, 64, 255]

    with listen(others, group=GROUP) as heard:
        for ttl in ttls:
            sender.udp.send(to=GROUP, ttl=ttl)

    assert {name: [datagram.ttl for datagram in heard.datagrams[name]] for name in others} == dict.fromkeys(
        others, ttls
    )


def test_loop_off_suppresses_the_own_copy_only(overlay, sender, listen):
    """With IP_MULTICAST_LOOP=0 the sender's own member socket receives nothing, every other node receives it once."""
    others = overlay.others(sender)

    with listen([sender, *others], group=GROUP) as heard:
        sender.udp.send(to=GROUP, loop=False)

    heard.copies({sender.name: 0, **dict.fromkeys(others, 1)})


def test_own_copy_is_made_locally(overlay, sender, listen):
    """No copy of a datagram returns to its sender over the network."""
    others = overlay.others(sender)

    with listen(others, group=GROUP) as heard:
        sender.udp.send(to=GROUP)

    heard.exactly_once(at=others)
    at_sender = [seen.interface for seen in heard.sightings() if seen.node == sender.name and not seen.outgoing]
    assert sorted(at_sender) == returning(overlay, sender)
