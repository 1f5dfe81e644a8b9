"""
A cluster's traffic (corosync, transport udp): messages to a group of 239.192.0.0/16 with TTL 1, tokens by unicast.

    hub --token--> spoke1 --token--> spoke2 --token--> hub         messages: everyone to 239.192.x.y:5405

Emulated: the datagrams of corosync.conf(5), sent without naming an interface, so that the routing table chooses it.
"""

import pytest

from lab import groups

GROUP, PORT = groups.fresh(groups.ORGANIZATION), 5405
TTL = 1  # corosync.conf(5): the default
BY_THE_ROUTING_TABLE = "0.0.0.0"

pytestmark = pytest.mark.requirement("APP-05")


def exchange(lab):
    """Every host sends one message to the group; returns the listening."""
    with lab.listen(lab.hosts, group=GROUP, port=PORT, interface=BY_THE_ROUTING_TABLE) as heard:
        for host in lab.hosts.values():
            host.udp.send(to=GROUP, ttl=TTL)
    return heard


def bare_on_a_nic(lab, heard):
    """The hosts that sent a message as it is on the underlay."""
    nics = {(host.name, host.plan.nic) for host in lab.hosts.values()}
    return {
        seen.node
        for seen in heard.sightings()
        if seen.outgoing and seen.carrier is None and (seen.node, seen.interface) in nics
    }


@pytest.mark.parametrize("routers", [0, 1], ids=["underlay=flat", "underlay=routed"])
def test_every_member_receives_every_message(standing, routers):
    """Each member receives each message of every member once, its own included."""
    lab = standing(routers=routers)

    exchange(lab).exactly_once(at=lab.hosts)


def test_no_message_is_bare_on_the_underlay(overlay):
    """Every message leaves its host in the tunnel: the route to the whole multicast range leads into the overlay."""
    assert bare_on_a_nic(overlay, exchange(overlay)) == set()


def test_the_token_goes_round(overlay, listen):
    """The token, a datagram from member to member, completes the ring."""
    ring = list(overlay.hosts.values())

    for holder, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        with listen([following], port=PORT) as heard:
            holder.udp.send(to=following.address())
        heard.exactly_once(at=[following.name])


@pytest.mark.disruptive
def test_the_articles_route_sends_it_to_the_underlay(build_lab):
    """With only 224.0.0.0/8 routed to the overlay messages leave without a tunnel, and no other member gets them."""
    lab = build_lab(topology="article")

    heard = exchange(lab)

    assert bare_on_a_nic(lab, heard) == set(lab.hosts)
    assert all(len(payloads) <= 1 for payloads in heard.payloads.values())
