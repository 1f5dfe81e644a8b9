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


def test_unbound_follows_the_default_route_and_is_lost(overlay, sender, listen):
    """Unbound it leaves bare by the device of the default route, which is not the overlay, and no host hears it."""
    others, device = overlay.others(sender), sender.node.device_to(LIMITED_BROADCAST)
    assert device not in ("", sender.plan.device)

    with listen(others) as heard:
        sender.udp.send(to=LIMITED_BROADCAST)

    heard.nothing(at=others)
    seen = heard.sightings()
    out = {(frame.interface, frame.carrier) for frame in seen if frame.node == sender.name and frame.outgoing}
    assert out == {(device, None)}
    assert [str(frame) for frame in seen if frame.node in others] == []


@pytest.mark.provoking
def test_unbound_without_a_route_is_refused(provoked, sender, listen):
    """Without a default route, or any other that covers it, the kernel answers ENETUNREACH; bound it is delivered."""
    others = provoked.others(sender)
    none = {"to": f"{LIMITED_BROADCAST}/32", "type": "throw"}  # as if neither a default route nor a VPN's led anywhere

    with sender.node.changed(("route_add", none), ("route_del", none)):
        with listen(others) as heard:
            with pytest.raises(OSError) as refused:
                sender.udp.send(to=LIMITED_BROADCAST)
            sender.udp.send(to=LIMITED_BROADCAST, device=sender.plan.device)

    assert refused.value.errno == errno.ENETUNREACH
    heard.exactly_once(at=others)
