"""
What an event costs that the user causes while a stream runs (--stream): a hub is rebooted, a rule of the cloud changed.

    the first spoke --100 numbers a second--> all other hosts, by broadcast, multicast and unicast
"""

import pytest


@pytest.mark.requirement("RED-04")
def test_nothing_of_a_stream_comes_twice(streamed, record_silences):
    """No datagram of a stream between live hosts is received twice or out of order."""
    record_silences("during the stream", streamed.outages)
    assert [one for one in streamed.outages if one.repeated or one.disordered] == []
