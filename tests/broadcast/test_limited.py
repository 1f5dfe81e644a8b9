"""
The limited broadcast 255.255.255.255 has no network of its own: it goes where the socket says, else by default route.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2        bound to the overlay: everyone hears it
    ===+=ens3==================+=ens3=========+=ens3====        unbound: bare into the cloud's network, which drops it
"""

import errno

import pytest

from lab.model import LIMITED_BROADCAST

pytestmark = pytest.mark.requirement("BCAST-03")


def test_bound_to_the_device_reaches_everyone(overlay, sender, listen):
    """With SO_BINDTODEVICE on the overlay device every other node hears it once, from the overlay address."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(to=LIMITED_BROADCAST, device=sender.plan.device)

    assert {name: heard.one(name).source[0] for name in others} == dict.fromkeys(others, sender.address())


def test_bound_to_the_address_reaches_everyone(overlay, sender, listen):
    """With the socket bound to the overlay address every other node hears it once."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(to=LIMITED_BROADCAST, source=sender.address())

    heard.exactly_once(at=others)


def test_unbound_follows_the_default_route_and_is_lost(overlay, sender, listen, configured):
    """Unbound it leaves bare by the default route's device, and the overlay carries none of it; the send succeeds."""
    others = overlay.others(sender)
    device = configured(overlay)[sender.name].route_to(LIMITED_BROADCAST).device

    with listen(others) as heard:
        sender.udp.send(to=LIMITED_BROADCAST)

    seen = heard.sightings()
    at_sender = [frame for frame in seen if frame.node == sender.name]
    assert device in {frame.interface for frame in at_sender}
    assert {(frame.outgoing, frame.carrier) for frame in at_sender} == {(True, None)}
    assert [str(frame) for frame in seen if frame.interface == overlay[frame.node].plan.device] == []
    if device == sender.plan.nic:  # the cloud's network, which drops it
        heard.nothing(at=others)
        assert [str(frame) for frame in seen if frame.node in others] == []


@pytest.mark.provoking
def test_unbound_without_a_default_route_is_refused(provoked, sender, listen):
    """Without a default route the kernel refuses it: ENETUNREACH; the bound one goes on working."""
    others = provoked.others(sender)
    default = {"to": "0.0.0.0/0", "device": sender.plan.nic}
    gateway = str(sender.plan.underlay.network.network_address + 1)

    with sender.node.changed(("route_del", default), ("route_add", {**default, "via": gateway})):
        with listen(others) as heard:
            with pytest.raises(OSError) as refused:
                sender.udp.send(to=LIMITED_BROADCAST)
            sender.udp.send(to=LIMITED_BROADCAST, device=sender.plan.device)

    assert refused.value.errno == errno.ENETUNREACH
    heard.exactly_once(at=others)
