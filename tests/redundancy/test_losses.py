"""
The failure of one of two hubs, or of a tunnel to one: PRP loses nothing, a bond only until it detects the failure.

    spoke1 === hub   === spoke2      a numbered stream by broadcast, multicast and unicast, 500 numbers a second
      ╚═══════ hub2 ══════╝          hub off, on; hub2 off, on; the way from spoke1 to hub cut, open
"""

import pytest

from fixtures.areas.redundancy import missed, too_long

CONVERGED = 15.0  # seconds: STP's least timers take 10

pytestmark = pytest.mark.disruptive


@pytest.mark.requirement("RED-02")
@pytest.mark.parametrize("hub", ["hub", "hub2"], ids="without {}".format)
def test_delivery_goes_on_without_either_hub(redundant, hub, record_silences):
    """While a hub is down spokes receive from each other: with PRP everything, with a bond after at most 2 s."""
    found = missed(redundant, hub)

    record_silences(f"without {hub}", found.lost)
    assert too_long(redundant, found.lost) == []


@pytest.mark.requirement("RED-03")
def test_delivery_goes_on_without_a_tunnel(redundant, record_silences):
    """While one spoke's path to a hub is cut others receive from it: with PRP everything, with a bond after 2 s."""
    found = missed(redundant, "leg")

    record_silences("without a tunnel", found.lost)
    assert too_long(redundant, found.lost) == []


@pytest.mark.requirement("RED-04")
def test_what_is_back_brings_nothing_twice(redundant):
    """While a hub or a tunnel fails and recovers nothing is duplicated or out of order, and delivery continues."""
    found = missed(redundant, "hub", "hub2", "leg", patience=CONVERGED)

    every = (*found.lost, *found.back)
    assert [one for one in every if one.repeated or one.disordered] == []
    assert too_long(redundant, found.back) == []
