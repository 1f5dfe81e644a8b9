"""
Market data over the overlay: a numbered feed arrives whole and in order, at all receivers alike.

    spoke1 --quotes--> 239.x.x.x -->( hub: bridge0 )--> hub, spoke2, ...
"""

import pytest

DATAGRAMS = 3000
AGREED_RATE = 500  # datagrams a second at least

pytestmark = pytest.mark.requirement("APP-06")


@pytest.fixture
def received(overlay, feed, fresh_group, spoke1):
    """One feed from the first spoke to all others."""
    receivers = [overlay[name] for name in overlay.others(spoke1)]
    return feed(spoke1, receivers, fresh_group, DATAGRAMS)


def test_nothing_is_lost_repeated_or_out_of_order(received):
    """Every receiver has every number once and in order, at the agreed rate or faster."""
    losses = {name: (got.lost, got.repeated, got.disordered) for name, got in received.received.items()}

    assert losses == dict.fromkeys(received.received, (0, 0, 0))
    assert received.rate >= AGREED_RATE
