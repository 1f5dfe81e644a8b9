"""
Nothing is secret: the overlay's packets can be read on the underlay, and so can the tunnels' key.

    spoke1 ens3 --[IPv4 [GRE key 42 [frame [payload]]]]--> the cloud's network: octet by octet as it was sent
"""

import pytest

from fixtures.probes import carried, layers

pytestmark = pytest.mark.requirement("SEC-04")

KEY = 42


def test_the_payload_is_readable_on_the_underlay(overlay, sender, everyone, listen):
    """The payload of a broadcast is found, unchanged, in every tunnel packet between the NICs."""
    with listen(overlay.others(sender)) as heard:
        payload = sender.udp.send(to=everyone).payload

    heard.exactly_once(at=overlay.others(sender))
    wrapped = [bytes(one.outer) for one in carried(heard.sightings())]
    assert wrapped
    assert all(payload in packet for packet in wrapped)


@pytest.mark.tunnel("gretap")
def test_the_key_is_readable_too(standing):
    """A tunnel's key is in every packet's GRE header: it identifies a tunnel, but keeps nothing secret."""
    lab = standing(key=KEY)
    spoke = lab.spokes[0]

    with lab.listen(lab.others(spoke)) as heard:
        spoke.udp.send(to=lab.everyone)

    heard.exactly_once(at=lab.others(spoke))
    assert {one.outer[layers.GRE].key for one in carried(heard.sightings())} == {KEY}
