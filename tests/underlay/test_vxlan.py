"""
Where the cloud blocks GRE, the same overlay over VXLAN (UDP port 4789, RFC 7348) delivers the same.

    spoke1 --vxlan1--( hub: bridge0 )--vxlan2-- spoke2        on Azure's profile: proto 47 dropped, MTU 1500
"""

import pytest

from fixtures.areas.underlay import passing
from fixtures.probes import carried
from lab import groups

pytestmark = pytest.mark.requirement("UNDER-08")

VXLAN_OVERHEAD = 50  # octets: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14
AZURE_MTU = 1500
OUTER_TTL = 64
GROUP = groups.fresh(groups.SCOPED)


@pytest.fixture
def azure(standing):
    """The overlay over VXLAN on the one cloud that blocks GRE."""
    return standing(provider_name="azure", kind="vxlan", ttl=OUTER_TTL)


def test_the_cloud_passes_vxlan_and_no_gre(azure):
    """Between hub and spokes, UDP port 4789 passes both ways and protocol 47 neither way."""
    hub = azure.hub

    assert {
        (spoke.name, way): passing(azure, *pair, carriers=("gre", "vxlan"))
        for spoke in azure.spokes
        for way, pair in {"to": (hub, spoke), "from": (spoke, hub)}.items()
    } == {(spoke.name, way): {"vxlan"} for spoke in azure.spokes for way in ("to", "from")}


def test_broadcast_reaches_everyone(azure):
    """A broadcast from any host reaches every other one exactly once."""
    for sender in azure.senders:
        with azure.listen(azure.others(sender)) as heard:
            sender.udp.send(to=azure.everyone)

        heard.exactly_once(at=azure.others(sender))


def test_multicast_with_ttl_1_reaches_members(azure):
    """A multicast with TTL 1 reaches every member: the outer TTL does not follow it."""
    for sender in azure.senders:
        with azure.listen(azure.others(sender), group=GROUP) as heard:
            # said, not routed: which groups a host routes where is MCAST-08's business
            sender.udp.send(to=GROUP, ttl=1, multicast_interface=sender.address())

        heard.exactly_once(at=azure.others(sender))


def test_broadcast_ping_is_answered_by_everyone(azure):
    """A broadcast ping from any host is answered once by every host, the pinger included."""
    for sender in azure.senders:
        sender.ping(azure.everyone).exactly_once_by(azure.hosts)


def test_outer_ttl_is_fixed_and_mtu_leaves_room(azure):
    """The outer TTL is 64 whatever is inside, and the tunnels' MTU is the cloud's less the overhead of VXLAN."""
    spoke = azure.spokes[0]

    with azure.listen([azure.hub], group=GROUP) as heard:
        spoke.udp.send(to=GROUP, ttl=1, multicast_interface=spoke.address())

    heard.exactly_once(at=["hub"])
    assert {frame.outer["IP"].ttl for frame in carried(heard.sightings())} == {OUTER_TTL}
    nic, tunnel = (spoke.node.link(device).mtu for device in (spoke.plan.nic, azure.topology.ports(spoke.name)[0]))
    assert tunnel == min(nic, AZURE_MTU) - VXLAN_OVERHEAD


def test_a_datagram_as_large_as_the_mtu_arrives_whole(azure):
    """A broadcast that fills the overlay's MTU reaches everyone in one piece."""
    spoke = azure.spokes[0]
    others, mtu = azure.others(spoke), spoke.node.link(spoke.plan.device).mtu

    with azure.listen(others) as heard:
        spoke.udp.send(to=azure.everyone, size=mtu - 28, dont_fragment=True)

    heard.exactly_once(at=others)
