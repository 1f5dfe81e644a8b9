"""
The limited broadcast 255.255.255.255 belongs to no network: the socket chooses the device, else the default route.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2        bound to the overlay: every other node receives it
    ===+=ens3==================+=ens3=========+=ens3====        unbound: bare into the cloud's network, which drops it
"""

import contextlib
import errno

import pytest

from lab.model import LIMITED_BROADCAST
from lab.stack.changes import route_add, route_del

pytestmark = pytest.mark.requirement("BCAST-03")


def test_bound_to_the_device_reaches_everyone(overlay, sender, listen):
    """A limited broadcast of a socket bound to the overlay device reaches every other node once, from its address."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(to=LIMITED_BROADCAST, device=sender.plan.device)

    assert {name: heard.one(name).source[0] for name in others} == dict.fromkeys(others, sender.address())


def test_bound_to_the_address_reaches_everyone(overlay, sender, listen):
    """A limited broadcast of a socket bound to the overlay address reaches every other node once."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(to=LIMITED_BROADCAST, source=sender.address())

    heard.exactly_once(at=others)


def test_unbound_follows_the_default_route(overlay, sender, listen):
    """A limited broadcast of an unbound socket leaves by the default route's device, and the cloud drops it."""
    others, device = overlay.others(sender), sender.node.device_to(LIMITED_BROADCAST)
    assert device not in ("", sender.plan.device)

    with listen(others) as heard:
        sender.udp.send(to=LIMITED_BROADCAST)

    seen = heard.sightings()
    at_sender = [frame for frame in seen if frame.node == sender.name]
    on_overlay = {(host.name, host.plan.device) for host in overlay.hosts.values()}
    assert device in {frame.interface for frame in at_sender if frame.outgoing}
    assert [str(frame) for frame in seen if frame.carrier or (frame.node, frame.interface) in on_overlay] == []
    if device == sender.plan.nic:  # another network, of a second NIC or a VPN, may deliver broadcast
        heard.nothing(at=others)
        assert [str(frame) for frame in seen if frame.node in others] == []


@pytest.mark.disruptive
def test_unbound_without_a_route_is_refused(mutable_lab, sender, listen):
    """Without a route to 255.255.255.255 an unbound socket gets ENETUNREACH; a bound socket's datagram is delivered."""
    others = mutable_lab.others(sender)
    none = {"to": f"{LIMITED_BROADCAST}/32", "type": "throw"}  # as if neither a default route nor a VPN's led anywhere

    own = [route.dev for route in sender.node.read("routes") if route.dev and route.dst == none["to"]]

    with contextlib.ExitStack() as changes:
        for device in own:
            changes.enter_context(sender.node.changed(route_del(none["to"], device), route_add(none["to"], device)))
        changes.enter_context(sender.node.changed(route_add(**none), route_del(**none)))
        with listen(others) as heard:
            with pytest.raises(OSError) as refused:
                sender.udp.send(to=LIMITED_BROADCAST, wait=True)
            sender.udp.send(to=LIMITED_BROADCAST, device=sender.plan.device)

    assert refused.value.errno == errno.ENETUNREACH
    heard.exactly_once(at=others)
