"""
Copies are made at the hub only: one packet from the sender, one from the hub for every other spoke.

    spoke1 --1--> hub --1--> spoke2
                      `-1--> spoke3        of N nodes, a spoke's broadcast costs the hub's NIC N - 2 packets
"""

from collections import Counter

import pytest

pytestmark = pytest.mark.requirement("PERF-01")

GROUP = "224.1.1.1"  # the article's: which groups a host routes where is MCAST-08's business, not this module's
MANY = 50  # datagrams: enough that what else a NIC sends meanwhile does not change their number per datagram


@pytest.mark.parametrize("kind", ["broadcast", "multicast"])
@pytest.mark.parametrize("spokes", [2, 3], ids="spokes={}".format)
def test_the_hub_makes_one_copy_for_every_other_spoke(standing, carried, kind, spokes):
    """Whoever sends, the outer packets are one to the hub and one from the hub to each spoke but the sender."""
    lab = standing(spokes=spokes)
    hub = lab.hub.plan.endpoint
    for sender in lab.hosts.values():
        with lab.listen(lab.others(sender), group=GROUP if kind == "multicast" else None) as heard:
            sender.udp.send(to=lab.everyone if kind == "broadcast" else GROUP)

        heard.exactly_once(at=heard.at)
        left = Counter(
            (one.source, one.destination)
            for one in carried(heard.sightings())
            if one.sighting.outgoing and one.sighting.node in lab.hosts
        )
        to_hub = {(sender.plan.endpoint, hub): 1} if sender is not lab.hub else {}
        others = [spoke.plan.endpoint for spoke in lab.spokes if spoke is not sender]
        assert left == {**to_hub, **{(hub, spoke): 1 for spoke in others}}


def test_the_counters_say_so(overlay, spoke, everyone, listen, record_figure):
    """For each datagram of a burst the sender's NIC counts one packet out, and the hub's one for every other spoke."""
    hub, others = overlay.hub, len(overlay.spokes) - 1
    before = [host.node.statistics(host.plan.nic)["tx_packets"] for host in (spoke, hub)]

    with listen(overlay.others(spoke)) as heard:
        spoke.udp.send([b"%d" % number for number in range(MANY)], to=everyone)

    heard.exactly_once(at=overlay.others(spoke))
    after = [host.node.statistics(host.plan.nic)["tx_packets"] for host in (spoke, hub)]
    sent, copied = ((now - was) / MANY for now, was in zip(after, before, strict=True))
    assert (round(sent), round(copied)) == (1, others)
    record_figure(f"packets from the hub per datagram of {spoke.name}", copied, "packets")
