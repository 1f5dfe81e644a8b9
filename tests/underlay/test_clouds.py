"""
The article's table of clouds, measured on each emulated one: the packets that pass between two hosts.

    hub ens3 <---| VCN of oci, aws, gcp, azure |---> spoke1 ens3

The rows stand here as documents state them; what a lab is built from stands elsewhere, and a wrong profile turns red.
"""

from dataclasses import dataclass

import pytest

from fixtures.areas.underlay import at_nics, passing
from lab import groups

SOMEONE_ELSE = 99  # an unused host number: a source address that no VNIC owns
HEADERS = 20 + 8  # octets of IPv4 and UDP
TAG = 4  # octets above its MTU that a bridge's port lets pass (br_forward.c)


@dataclass(frozen=True)
class Row:
    """The packets that pass between two hosts, the instance's MTU, and whether foreign sources are dropped."""

    broadcast: bool
    multicast: bool
    gre: bool
    vxlan: bool
    mtu: int
    source_check: bool


TABLE = {
    #            broadcast, multicast, GRE,  VXLAN, MTU,  source/destination check
    "oci": Row(False, False, True, True, 9000, True),
    "aws": Row(False, False, True, True, 9001, True),
    "gcp": Row(False, False, True, True, 1460, True),
    "azure": Row(False, False, False, True, 1500, True),
}


def observe(lab):
    """A lab's row, measured: from the hub to a spoke and back, a carrier passes when it does both ways."""
    hub, spoke = lab.hub, lab.spokes[0]
    pairs = [(hub, spoke), (spoke, hub)]
    carriers = frozenset.intersection(*(passing(lab, *pair, carriers=("gre", "vxlan")) for pair in pairs))
    stranger = foreign_source(spoke)
    foreign = passing(lab, spoke, hub, carriers=("gre", "vxlan"), source=stranger)
    with lab.listen([hub], network="underlay") as heard:
        everyone = spoke.udp.send(to=spoke.plan.broadcast("underlay"))
        group = spoke.udp.send(to=groups.fresh(), multicast_interface=spoke.address("underlay"))
        control = spoke.udp.send(to=hub.address("underlay"))
    assert control.payload in heard.payloads["hub"]
    return Row(
        broadcast=at_nics(lab, everyone.payload) != {(spoke.name, "out")},
        multicast=at_nics(lab, group.payload) != {(spoke.name, "out")},
        gre="gre" in carriers,
        vxlan="vxlan" in carriers,
        mtu=largest_packet(lab, spoke, hub, TABLE[lab.underlay.provider.name].mtu),
        source_check=not foreign,
    )


def foreign_source(host):
    return str(host.plan.underlay.network.network_address + SOMEONE_ELSE)


def largest_packet(lab, sender, receiver, stated):
    """The largest packet that arrives unfragmented: the sender's MTU, or on a larger NIC the stated one; 0 if none."""
    mtu = sender.node.link(sender.plan.nic).mtu
    sizes = {min(mtu, stated), mtu if mtu > stated + TAG else min(mtu, stated)}
    with lab.listen([receiver], network="underlay") as heard:
        to = receiver.address("underlay")
        sent = {size: sender.udp.send(to=to, size=size - HEADERS, dont_fragment=True).payload for size in sizes}
    return max((size for size, payload in sent.items() if payload in heard.payloads[receiver.name]), default=0)


@pytest.mark.usefixtures("open_underlay")
@pytest.mark.requirement("UNDER-05")
def test_the_network_is_the_one_that_was_chosen(overlay):
    """The lab's network passes what the table lists for the chosen cloud."""
    assert observe(overlay) == TABLE[overlay.underlay.provider.name]


@pytest.mark.usefixtures("open_underlay")
@pytest.mark.requirement("UNDER-05")
@pytest.mark.parametrize("cloud", TABLE)
def test_each_cloud_passes_what_its_row_lists(standing, cloud):
    """Each emulated cloud passes what the table lists for it: GRE everywhere but on Azure, broadcast nowhere."""
    assert observe(standing(provider_name=cloud)) == TABLE[cloud]


@pytest.mark.disruptive
@pytest.mark.requirement("UNDER-05")
def test_a_wrong_profile_is_noticed(mutable_lab):
    """Once its ports drop GRE, a lab with another cloud's profile measures like Azure, except for its MTU."""
    azure = TABLE["azure"]

    with mutable_lab.cloud.without_gre():
        row = observe(mutable_lab)

    assert (row.broadcast, row.multicast, row.gre, row.vxlan) == (False, False, azure.gre, azure.vxlan)
