"""
A rate that the user names (`--load=RATE`) reaches every receiver without loss.

    spoke1 --RATE datagrams of 64 octets a second--> hub, spoke2: every one, once
"""

import pytest

from fixtures.areas.load import join_during_feed, losses_at, losses_below

MOMENT = 2.0  # seconds on a busy machine; hosts report a join within two ticks of their clock


@pytest.mark.requirement("LOAD-01")
def test_multicast_arrives_at_the_rate(overlay, rate, record_figure):
    """At the rate of --load, every receiver gets every datagram to a group once."""
    assert losses_at(rate, "multicast", overlay, record_figure) == []


@pytest.mark.requirement("LOAD-01")
def test_multicast_arrives_at_less_and_at_fewer(overlay, rate, record_figure):
    """Every receiver gets every multicast datagram at lower rates, and fewer receivers do at the rate of --load."""
    assert losses_below(rate, overlay, record_figure) == []


@pytest.mark.requirement("LOAD-01")
def test_a_joining_host_gets_the_running_feed(overlay, rate, record_figure):
    """A spoke that joins a feed receives it at once."""
    assert join_during_feed(rate, overlay, record_figure) < MOMENT + 2 / rate


@pytest.mark.requirement("LOAD-02")
def test_broadcast_arrives_at_the_rate(overlay, rate, record_figure):
    """At the rate of --load, every receiver gets every datagram to the broadcast address once."""
    assert losses_at(rate, "broadcast", overlay, record_figure) == []


@pytest.mark.requirement("LOAD-03")
def test_unicast_arrives_at_the_rate(overlay, rate, record_figure):
    """At the rate of --load, the receiver gets every datagram to its address once."""
    assert losses_at(rate, "unicast", overlay, record_figure) == []
