"""
One of two tunnels of a spoke that is worse than the other: PRP takes whichever copy comes first, and drops the second.

    spoke1 ===(20 ms more, or 5 % lost)=== hub  === spoke2
      ╚════════════════════════════════ hub2 ════╝
"""

import pytest

from fixtures.areas.redundancy import missed, too_long
from fixtures.requirements import not_applicable

pytestmark = pytest.mark.disruptive

LONG = 2.0  # seconds: 1,000 numbers, of which one tunnel loses some 50
MOST_LOST = 5  # of them: net/hsr takes a frame that is overtaken by later ones for a second copy


@pytest.mark.requirement("RED-05")
def test_a_slow_tunnel_brings_nothing_twice_or_out_of_order(redundant):
    """While the first spoke's tunnel takes 20 ms more, nothing arrives twice or out of order, and delivery goes on."""
    found = missed(redundant, "slow")

    every = (*found.lost, *found.back)
    assert [one for one in every if one.repeated or one.disordered] == []
    assert too_long(redundant, every) == []


@pytest.mark.requirement("RED-06")
def test_a_lossy_tunnel_loses_next_to_nothing(redundant):
    """While the first spoke's tunnel loses 5 %, receivers miss at most 5 of 1,000 numbers."""
    if not redundant.topology.doubled:
        not_applicable("spokes send by one tunnel, which is not replaced as long as it carries most packets")

    found = missed(redundant, "lossy", seconds=LONG)

    assert [one for one in found.lost if one.lost > MOST_LOST or one.repeated or one.disordered] == []
