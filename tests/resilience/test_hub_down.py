"""
The hub is a single VM.  Without it no host receives anything, and the tunnels stay up: GRE has no keepalive.

    spoke1 ==tunnel==> the cloud's network --x  hub (stopped)  x-- spoke2        gretap1: UP, LOWER_UP
"""

import pytest

from fixtures.areas.resilience import await_neighbour, quick_neighbours
from lab import groups

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
RESOLVED = ("reachable", "stale", "delay", "probe")
TROUBLE = ("tx_errors", "tx_dropped", "tx_carrier_errors", "tx_aborted_errors", "tx_heartbeat_errors")
AT_ONCE = 0.05  # seconds of grace: a NIC without carrier holds nothing back that could come later


def trouble(spoke):
    """The error counters of a spoke's tunnel."""
    counted = spoke.node.statistics(spoke.plan.device)
    return {name: counted[name] for name in TROUBLE}


@pytest.mark.requirement("FAULT-01")
def test_the_hub_answers_every_spoke(overlay, spoke):
    """The hub and every other host answer each spoke's ping over the overlay."""
    assert spoke.ping(overlay.hub.address()).others == {"hub": 1}
    assert spoke.ping(overlay.everyone).others == dict.fromkeys(overlay.others(spoke), 1)


@pytest.mark.requirement("FAULT-01")
@pytest.mark.disruptive
@pytest.mark.usefixtures("only_hub")
class TestStoppedHub:
    """No answer comes from the hub; the senders see no other difference."""

    def test_cuts_every_host_off_and_shows_at_no_link(self, mutable_lab, spoke1):
        """With the hub down nothing is delivered; every send succeeds, and the tunnel is up without an error."""
        before, others = trouble(spoke1), mutable_lab.others(spoke1)

        with mutable_lab.cloud.stopped("hub", mutable_lab.hub.node):
            with mutable_lab.listen(others, grace=AT_ONCE) as broadcast:
                spoke1.udp.send(to=mutable_lab.everyone)
            with mutable_lab.listen(others, group=GROUP, grace=AT_ONCE) as multicast:
                spoke1.udp.send(to=GROUP)
            link = spoke1.node.link(spoke1.plan.device)

        broadcast.nothing(at=others)
        multicast.nothing(at=others)
        assert (link.up, link.lower_up) == (True, True)
        assert trouble(spoke1) == before

    def test_is_found_by_asking(self, mutable_lab, spoke1):
        """With the hub down only the pinger itself answers a broadcast ping."""
        with mutable_lab.cloud.stopped("hub", mutable_lab.hub.node):
            answers = spoke1.ping(mutable_lab.everyone, grace=AT_ONCE)

        assert (answers.counts, answers.others) == ({spoke1.name: 1}, {})

    @pytest.mark.tunnel("gretap", "vxlan", "geneve")  # whose neighbours on the underlay are found by ARP
    def test_stays_resolved_where_the_cloud_answers_for_it(self, mutable_lab, spoke1):
        """The cloud answers ARP for a stopped VM's address: neighbour and link do not show that it is down."""
        with mutable_lab.cloud.stopped("hub", mutable_lab.hub.node):
            mutable_lab.forget_neighbours()
            spoke1.udp.send(to=mutable_lab.everyone, port=9)

            assert await_neighbour(spoke1, mutable_lab.hub, *RESOLVED) in RESOLVED

    @pytest.mark.tunnel("gretap", "vxlan", "geneve")  # whose neighbours on the underlay are found by ARP
    def test_fails_as_a_neighbour_once_the_cloud_forgets_it(self, mutable_lab, spoke1):
        """When no host answers ARP for the hub's address, its neighbour entry fails, and sending still succeeds."""
        before = trouble(spoke1)
        with quick_neighbours([spoke1]), mutable_lab.cloud.withdrawn(mutable_lab.hub.name):
            mutable_lab.forget_neighbours()
            spoke1.udp.send(to=mutable_lab.everyone, port=9)
            state = await_neighbour(spoke1, mutable_lab.hub, "failed")
            spoke1.udp.send(to=mutable_lab.everyone, port=9)
            link = spoke1.node.link(spoke1.plan.device)

        assert state == "failed"
        assert (link.up, link.lower_up) == (True, True)
        assert trouble(spoke1) == before
