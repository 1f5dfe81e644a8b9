"""
The overlay needs no relaxed source/destination check: outer addresses are always the VNICs' own.

    spoke1 gretap1 [172.16.254.2 -> ...] --> spoke1 ens3 [10.0.0.25 -> 10.0.0.197] --> VCN port: its own, passes
"""

import pytest

from fixtures.areas.underlay import outer_addresses, passing
from fixtures.probes import carried
from lab.stack.changes import addr_add, route_add

pytestmark = pytest.mark.requirement("UNDER-06")


def test_outer_addresses_are_the_nics_own(overlay, sender, everyone, listen):
    """The outer packets of a broadcast have the addresses of the two NICs on their path, at every NIC."""
    with listen(overlay.others(sender)) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=overlay.others(sender))
    legs = {(frame.source, frame.destination) for frame in carried(heard.sightings())}
    assert legs == outer_addresses(overlay, sender)


@pytest.mark.disruptive
def test_the_check_is_on_while_broadcast_is_delivered(overlay, spoke1, hub, everyone, listen):
    """The cloud's port drops an address that is not the VNIC's, and the overlay's broadcast still passes through it."""
    stranger = str(spoke1.plan.underlay.network.network_address + 99)
    others = overlay.others(spoke1)

    with listen(others) as heard:
        spoke1.udp.send(to=everyone)

    heard.exactly_once(at=others)
    assert passing(overlay, spoke1, hub, carriers=("gre", "vxlan"), source=stranger) == set()


@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
def test_a_foreign_outer_source_stops_at_the_cloud_port(mutable_lab, spoke1, hub):
    """A tunnel packet with a source that the VNIC does not own passes only while the check is off."""
    stranger = str(spoke1.plan.underlay.network.network_address + 99)

    checked = passing(mutable_lab, spoke1, hub, source=stranger)
    with mutable_lab.cloud.without_source_check(spoke1.name):
        unchecked = passing(mutable_lab, spoke1, hub, source=stranger)

    assert (checked, unchecked) == (set(), {"gre"})


@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
@pytest.mark.usefixtures("one_way")
def test_a_tunnel_from_an_address_that_the_vnic_does_not_own_is_dead(build_lab):
    """A spoke whose outer source address is not its VNIC's reaches no host, though its tunnel is up."""
    lab = build_lab(local=False)
    spoke, nic = lab.spokes[0], lab.spokes[0].plan.nic
    stranger = spoke.plan.underlay.network.network_address + 99
    spoke.node.apply(
        addr_add(nic, f"{stranger}/32"),
        route_add(f"{lab.hub.address('underlay')}/32", nic, source=str(stranger)),
    )

    with lab.listen(lab.others(spoke)) as heard:
        sent = spoke.udp.send(to=lab.everyone)

    heard.nothing(at=lab.others(spoke))
    seen = {(sighting.node, sighting.interface, sighting.direction) for sighting in lab.frames([sent.payload])}
    assert seen == {
        *((spoke.name, device, "out") for device in (spoke.plan.device, lab.topology.port(spoke.name, "hub"), nic)),
        ("vcn", lab.cloud.port_of(spoke.name), "in"),
    }
