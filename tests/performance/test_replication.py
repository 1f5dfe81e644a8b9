"""
Copies are made at the hub only: one packet from the sender, one from the hub for every other spoke.

    spoke1 --1--> hub --1--> spoke2
                      `-1--> spoke3        of N nodes, a spoke's broadcast costs the hub's NIC N - 2 packets
"""

from collections import Counter

import pytest

from lab import groups

pytestmark = pytest.mark.requirement("PERF-01")

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
MANY = 50  # datagrams


def left_the_nics(lab, seen):
    """The outer packets that left a host, by outer addresses; each counts where its tunnel's NIC sends it."""
    own = nics(lab)
    return Counter(one.addresses for one in seen if one.carrier and one.outgoing and (one.node, one.interface) in own)


def nics(lab):
    """Every host's NIC; one that is a bridge, bond or VLAN has another device below it."""
    return {(host.name, host.plan.nic) for host in lab.hosts.values()}


def copies(lab, sender):
    """The outer packets of a broadcast, by outer addresses: one to a hub, one from there to each other end."""
    ends = [(lab[hop.start.host], lab[hop.end.host]) for hop in lab.topology.flooded(sender.name)]
    return Counter((start.plan.endpoint, end.plan.endpoint) for start, end in ends)


@pytest.mark.parametrize("kind", ["broadcast", "multicast"])
@pytest.mark.parametrize("spokes", [2, 3], ids="spokes={}".format)
def test_the_hub_makes_one_copy_for_every_other_spoke(standing, kind, spokes):
    """For any sender, the outer packets are one to the hub and one from the hub to each spoke but the sender."""
    lab = standing(spokes=spokes)
    for sender in lab.senders:
        with lab.listen(lab.others(sender), group=GROUP if kind == "multicast" else None) as heard:
            sender.udp.send(to=lab.everyone if kind == "broadcast" else GROUP)

        heard.exactly_once(at=heard.at)
        assert left_the_nics(lab, heard.sightings()) == copies(lab, sender)


def test_a_burst_is_copied_datagram_by_datagram(overlay, spoke, everyone, listen, tag, record_figure):
    """Of a burst the sender's NIC sends one packet per datagram, and the hub's one for every other spoke."""
    with listen(overlay.others(spoke)) as heard:
        spoke.udp.send([b"%s %03d" % (tag, number) for number in range(MANY)], to=everyone)

    heard.exactly_once(at=overlay.others(spoke))
    left = left_the_nics(overlay, heard.sightings())
    assert left == {way: MANY * count for way, count in copies(overlay, spoke).items()}
    record_figure(f"packets from the hub per datagram of {spoke.name}", sum(left.values()) / MANY - 1, "packets")
