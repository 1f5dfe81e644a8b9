"""Captures of live hosts: memory of their own, in which a frame takes the room of its octets."""

from __future__ import annotations

from collections import Counter

import pytest

from lab.live import LiveLab
from lab.probes.payloads import unique
from selftests.live.conftest import Reach, looked_at
from selftests.live.rig import Rig

MANY = 6000  # datagrams; the hub sees each at five places, and its receive queue has room for some 20000 frames
SMALL, LARGE = 32, 3000  # octets: what fits into a slot of the memory, and what does not
BURST = 100  # datagrams


@pytest.fixture
def lab(rig: Rig, reach: Reach) -> LiveLab:
    return looked_at(reach(rig.specs))


def test_a_hub_has_room_for_a_large_number_of_frames(lab: LiveLab) -> None:
    """A burst that a hub of many spokes sees at many places is captured at all of them."""
    spoke, tag = lab["spoke1"], unique()
    lab.forget()

    with lab.listen(["hub"]):
        spoke.udp.send([tag] * MANY, to=lab.everyone)

    seen = Counter(one.interface for one in lab.frames([tag]) if (one.node, one.outgoing) == ("hub", True))
    assert seen == {lab.topology.port("hub", "spoke2"): MANY, lab.hub.plan.nic: MANY}


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_every_frame_is_captured_once_and_whole(lab: LiveLab, size: int) -> None:
    """Each datagram of a burst is at every place of its path once, in the order in which it was sent, unaltered."""
    spoke, payloads = lab["spoke1"], [unique(size) for _ in range(BURST)]
    lab.forget()
    with lab.listen(["hub"]) as heard:
        spoke.udp.send(payloads, to=lab.hub.address())
    heard.exactly_once(at=["hub"])

    places: dict[tuple[str, str, bool], list[bytes]] = {}
    for one in heard.sightings():
        places.setdefault((one.node, one.interface, one.outgoing), []).append(one.frame[-size:])
    expected = {
        ("spoke1", spoke.plan.device, True),
        ("spoke1", spoke.plan.nic, True),
        ("hub", lab.hub.plan.nic, False),
        ("hub", lab.topology.port("hub", "spoke1"), False),
    }
    assert set(places) >= expected
    assert all(places[place] == payloads for place in expected)
    assert Counter(map(len, places.values())) == {BURST: len(places)}
