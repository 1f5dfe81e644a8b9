"""
The inner TTL: a bridged overlay is one hop wide, for any sender and receiver.

    spoke1 --TTL n--> ( hub: bridge0 ) --TTL n--> spoke2
"""

import pytest

from lab import groups

pytestmark = pytest.mark.requirement("TTL-01")

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
TTLS = [1, 2, 32, 255]


@pytest.mark.parametrize("kind", ["unicast", "broadcast", "multicast"])
def test_arrives_as_it_was_sent(overlay, sender, listen, kind):
    """A datagram sent with TTL 1, 2, 32 or 255 arrives with that TTL at every other node, at and beyond the hub."""
    others = overlay.others(sender)
    sent_to = {
        "unicast": lambda: [overlay[name].address() for name in others],
        "broadcast": lambda: [overlay.everyone],
        "multicast": lambda: [GROUP],
    }[kind]()

    with listen(others, group=GROUP if kind == "multicast" else None) as heard:
        for ttl in TTLS:
            for to in sent_to:
                sender.udp.send(to=to, ttl=ttl)

    arrived = {name: [datagram.ttl for datagram in heard.datagrams[name]] for name in others}
    assert arrived == dict.fromkeys(others, TTLS)
