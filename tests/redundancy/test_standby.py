"""
A hub and its standby: VRRP, by keepalived, makes one of them the master, and a new master has the cloud move the VNIC.

    hub 10.0.0.197 --advertisements, unicast--> standby 10.0.0.198     a numbered stream from spoke1 to the others
    hub off --> standby is the master --(--api-delay)--> the VNIC, the bridge and the tunnels are there
"""

import pytest

from fixtures.areas.redundancy import AFTER_MOVE

pytestmark = pytest.mark.requirement("RED-08")


def test_the_hub_alone_is_the_master(with_standby):
    """While the hub works, the hub is the VRRP master, and the standby is not."""
    assert with_standby.standby.masters() == [with_standby.hub.name]


@pytest.mark.disruptive
def test_the_standby_takes_over(with_standby, build_lab, fail_over, record_silences):
    """With the hub lost, every spoke receives again from the standby within 2 s after the VNIC was moved."""
    lab = build_lab(arp_interval=100)

    before, after = fail_over(lab)

    record_silences("until a standby took over", before)
    assert lab.standby.masters() == [lab.topology.standby.name]
    assert [one for one in after if not one.recovered or one.silence > AFTER_MOVE] == []
    assert [one for one in (*before, *after) if one.repeated or one.disordered] == []
