"""
The article's own scripts and pings: what its reader types and sees, on each of the three nodes.

    bcast_send.py    'Hello, Broadcast! 1' ... to 172.16.254.255           bcast_rev.py on the others prints them
    mcast_send.py    'Hello, Multicast! 1' ... to a group, TTL 2           mcast_rev.py on the others prints them
    ping -b 172.16.254.255                                                 the others answer

The payloads are the article's; address, group and ports are those of the overlay and the run.
"""

import pytest

from lab import groups

GROUP = groups.fresh()
MULTICAST_TTL = 2
MESSAGES = 7
BROADCASTS = [f"Hello, Broadcast! {number}".encode() for number in range(1, MESSAGES + 1)]
MULTICASTS = [f"Hello, Multicast! {number}".encode() for number in range(1, MESSAGES + 1)]


@pytest.mark.requirement("BCAST-01", "BCAST-02")
def test_broadcast_messages_reach_the_others_in_order(overlay, sender, everyone, listen):
    """bcast_rev.py on each other node prints the messages of bcast_send.py: seven lines, in order."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(BROADCASTS, to=everyone)

    assert heard.payloads == dict.fromkeys(others, BROADCASTS)


@pytest.mark.requirement("MCAST-01")
def test_multicast_messages_reach_members_in_order(overlay, sender, listen):
    """mcast_rev.py on each other node prints the messages that mcast_send.py sends with TTL 2, in order."""
    others = overlay.others(sender)

    with listen(others, group=GROUP) as heard:
        sender.udp.send(MULTICASTS, to=GROUP, ttl=MULTICAST_TTL)

    assert heard.payloads == dict.fromkeys(others, MULTICASTS)
    assert {datagram.ttl for datagrams in heard.datagrams.values() for datagram in datagrams} == {MULTICAST_TTL}


@pytest.mark.requirement("ICMP-01")
def test_a_broadcast_ping_is_answered_by_the_others(overlay, sender, everyone):
    """`ping -b 172.16.254.255` on one node is answered by each of the others once."""
    answers = sender.ping(everyone)

    assert answers.others == dict.fromkeys(overlay.others(sender), 1)
