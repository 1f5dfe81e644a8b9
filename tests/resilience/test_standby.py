"""
A standby hub: another VM takes over the hub's address and its tunnels, and no spoke is touched.

    spoke1 ==tunnel==> 10.0.0.197 ==> hub (gone)           the cloud moves the VNIC, address and MAC with it
                                 `--> standby: the same bridge0, the same tunnels
"""

import pytest

from fixtures.areas.resilience import clock, quick_neighbours
from lab import groups

pytestmark = [pytest.mark.requirement("FAULT-08"), pytest.mark.disruptive]

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's


def test_takes_over_without_the_spokes(build_lab, record_figure):
    """Sockets that were open before receive again once another VM has the hub's VNIC and its tunnels."""
    lab = build_lab(spokes=3)
    sender, *rest = lab.spokes
    names = [spoke.name for spoke in rest]

    # a spoke whose ARP request for the hub's address gets no answer sends the next one only after a second
    with quick_neighbours(lab.spokes):
        with lab.listen(names) as broadcast, lab.listen(names, group=GROUP) as multicast:
            began = clock(lab)
            lab.take_over(lab.hub.name)
            sent = sender.udp.send(to=lab.everyone, port=broadcast.port).payload
            sent_to_group = sender.udp.send(to=GROUP, port=multicast.port).payload
        # a host that resolves the hub while it is away drops its ARP answers; the next request comes after a second
        lab.forget_neighbours()
        answers = [spoke.ping(lab.everyone) for spoke in lab.spokes]

    assert broadcast.payloads == {name: [sent] for name in names}
    assert multicast.payloads == {name: [sent_to_group] for name in names}
    for answered in answers:
        answered.exactly_once_by(lab.hosts)
    longest = max(broadcast.datagrams[name][0].time for name in names) - began
    record_figure("broadcast again after a standby hub took over", longest / 1e6)
