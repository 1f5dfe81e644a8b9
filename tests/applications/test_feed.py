"""
Market data over the overlay: a numbered feed arrives whole and in order, at all receivers alike.

    spoke1 --quotes--> 239.x.x.x -->( hub: bridge0 )--> hub, spoke2, ...
"""

import pytest

from fixtures.areas.applications import feed

DATAGRAMS = 3000

pytestmark = pytest.mark.requirement("APP-06")


def test_nothing_is_lost_repeated_or_out_of_order(overlay, fresh_group, spoke1, record_figure):
    """Every other host gets every number of a feed once and in order, at the speed of the slowest of them."""
    receivers = [overlay[name] for name in overlay.others(spoke1)]

    sent = feed(spoke1, receivers, fresh_group, DATAGRAMS)

    losses = {name: (got.lost, got.repeated, got.disordered) for name, got in sent.received.items()}
    assert losses == dict.fromkeys(overlay.others(spoke1), (0, 0, 0))
    record_figure(f"rate of a feed to {len(receivers)} receivers", sent.rate, "datagrams/s")
