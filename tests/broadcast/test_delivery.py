"""
Broadcast delivery: everyone on the overlay hears it once, and nobody else.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2
"""

import pytest

pytestmark = pytest.mark.requirement("BCAST-01", "BCAST-02")


def test_reaches_every_other_node_exactly_once(overlay, sender, everyone, listen):
    """Each of the other nodes hears one unaltered copy."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=others)
