"""
The inner TTL: a bridged overlay is one hop wide, whoever sends to whom.

    spoke1 --TTL n--> ( hub: bridge0 ) --TTL n--> spoke2
"""

import pytest

pytestmark = pytest.mark.requirement("TTL-01")

GROUP = "239.1.1.1"


@pytest.mark.parametrize("ttl", [1, 2, 32, 255], ids="ttl={}".format)
@pytest.mark.parametrize("kind", ["unicast", "broadcast", "multicast"])
def test_arrives_as_it_was_sent(overlay, sender, everyone, listen, kind, ttl):
    """What is sent with a TTL arrives with that TTL at every other node, through the hub as at the hub."""
    others = overlay.others(sender)
    sent_to = {"unicast": [overlay[name].address() for name in others], "broadcast": [everyone], "multicast": [GROUP]}

    with listen(others, group=GROUP if kind == "multicast" else None) as heard:
        for to in sent_to[kind]:
            sender.udp.send(to=to, ttl=ttl)

    arrived = {name: [datagram.ttl for datagram in heard.datagrams[name]] for name in others}
    assert arrived == {name: [ttl] for name in others}
