"""
The multicast range is 224.0.0.0/4: the route to the overlay must cover all of it, on senders and receivers.

    224.0.0.0/4 dev gretap1     every group goes by the overlay
    224.0.0.0/8 dev gretap1     the article's: 225.x to 239.x follow the default route, bare into the cloud's network
"""

import errno

import pytest

from fixtures.requirements import not_applicable
from lab import groups
from lab.model import MULTICAST
from lab.stack.changes import route_add, route_del

ROUTING_TABLE = "0.0.0.0"  # IP_ADD_MEMBERSHIP with INADDR_ANY: the routing table chooses the interface
DEFAULT_ROUTE = "0.0.0.0/0"
IN_THE_ARTICLES_ROUTE = groups.fresh()
OUTSIDE_OF_IT = [groups.fresh(part) for part in (groups.RESERVED, groups.SOURCE_SPECIFIC, groups.SCOPED)]
PARTS = {name: groups.fresh(part) for name, part in groups.PARTS.items()} | {"last": str(MULTICAST.broadcast_address)}
WHOLE_RANGE = list(PARTS.values())

pytestmark = pytest.mark.requirement("MCAST-08")


@pytest.fixture
def article_lab(build_lab):
    """A lab by the article's commands, whose multicast routes are as narrow as these make them."""
    lab = build_lab(topology="article")
    for host in lab.hosts.values():
        for group in OUTSIDE_OF_IT:
            if host.node.device_to(group) == host.plan.device:
                not_applicable(f"{host.name} has a route for {group} to {host.plan.device}, which is not the article's")
    return lab


def without_default_routes(lab):
    """Take the default route from every host of a private lab."""
    for host in lab.hosts.values():
        wanted = DEFAULT_ROUTE, host.plan.nic
        present = [route for route in host.node.read("routes") if (route.dst, route.dev) == wanted]
        host.node.apply(*(route_del(route.dst, route.dev) for route in present))


@pytest.mark.parametrize("group", WHOLE_RANGE, ids=PARTS)
def test_plain_sockets_reach_each_other_in_any_group(overlay, listen, group):
    """Sockets that select no interface receive each node's datagram once, in every part of 224.0.0.0/4."""
    all_hosts = list(overlay.hosts)

    with listen(all_hosts, group=group, interface=ROUTING_TABLE) as heard:
        for sender in overlay.hosts.values():
            sender.udp.send(to=group)

    heard.exactly_once(at=all_hosts)


def test_groups_that_firewalls_name_are_delivered(overlay, listen, groups_named_apart):
    """In labs each host receives every host's datagram once, in every part of 224.0.0.0/4 that a firewall matches."""
    all_hosts = list(overlay.hosts)
    for group in groups_named_apart:
        with listen(all_hosts, group=group) as heard:
            for sender in overlay.hosts.values():
                sender.udp.send(to=group)

        heard.exactly_once(at=all_hosts)


@pytest.mark.requirement("MCAST-01")
def test_traffic_that_hosts_name_is_delivered(overlay, listen, named_apart):
    """In labs each host receives every host's multicast once, for each port, size and TOS that a host's rules match."""
    all_hosts, group = list(overlay.hosts), groups.fresh(groups.ORGANIZATION)
    for named in named_apart:
        with listen(all_hosts, group=group, port=named.get("port")) as heard:
            for sender in overlay.hosts.values():
                sender.udp.send(to=group, size=named.get("size"), tos=named.get("tos"))

        heard.exactly_once(at=all_hosts)


def test_plain_join_is_made_on_the_overlay(receiver):
    """A join that selects no interface is made on the overlay device only, in every part of 224.0.0.0/4."""
    with receiver.member() as member:
        member.join(*WHOLE_RANGE, interface=ROUTING_TABLE)
        joined = receiver.memberships()

    devices = {group: [device for device, groups in joined.items() if group in groups] for group in WHOLE_RANGE}
    assert devices == {group: [receiver.plan.device] for group in WHOLE_RANGE}


@pytest.mark.disruptive
def test_no_default_route_is_needed(build_lab):
    """On hosts without a default route sockets that select no interface reach each other outside of 224.0.0.0/8 too."""
    lab = build_lab()
    without_default_routes(lab)
    group = OUTSIDE_OF_IT[-1]

    with lab.listen(lab.hosts, group=group, interface=ROUTING_TABLE) as heard:
        for sender in lab.hosts.values():
            sender.udp.send(to=group)

    heard.exactly_once(at=lab.hosts)


@pytest.mark.disruptive
def test_articles_route_loses_the_other_groups_to_the_underlay(article_lab):
    """With the article's route, 224.0.0.0/8, a datagram to another group leaves by the default route and is lost."""
    others = article_lab.others("spoke1")
    spoke1 = article_lab["spoke1"]

    for group in OUTSIDE_OF_IT:
        with article_lab.listen(others, group=group) as heard:
            spoke1.udp.send(to=group)

        heard.nothing(at=others)
        left = {(seen.interface, seen.carrier) for seen in heard.sightings() if seen.node == "spoke1" and seen.outgoing}
        assert (group, left) == (group, {(spoke1.node.device_to(group), None)})
        assert spoke1.node.device_to(group) != spoke1.plan.device


@pytest.mark.disruptive
def test_articles_route_joins_the_other_groups_on_the_underlay(article_lab):
    """With the article's route, 224.0.0.0/8, a join of another group is made on the default route's device."""
    for host in article_lab.hosts.values():
        with host.member() as member:
            member.join(*OUTSIDE_OF_IT, interface=ROUTING_TABLE)
            joined = host.memberships()

        assert {group for group in OUTSIDE_OF_IT if group in joined[host.node.device_to(group)]} == set(OUTSIDE_OF_IT)
        assert not joined[host.plan.device] & set(OUTSIDE_OF_IT)


@pytest.mark.disruptive
def test_articles_route_without_a_default_route_is_an_error(build_lab):
    """With the article's /8 and no default route, sending to another group is ENETUNREACH and joining it ENODEV."""
    lab = build_lab(topology="article")
    # as if neither a default route nor a VPN's led anywhere
    lab["spoke1"].node.apply(*(route_add(f"{group}/32", type="throw") for group in OUTSIDE_OF_IT))
    refused = {}

    for group in OUTSIDE_OF_IT:
        with pytest.raises(OSError) as unsent:
            lab["spoke1"].udp.send(to=group, port=9)
        with lab["spoke1"].member() as member, pytest.raises(OSError) as unjoined:
            member.join(group, interface=ROUTING_TABLE, wait=True)
        refused[group] = [errno.errorcode[error.value.errno] for error in (unsent, unjoined)]

    assert refused == {group: ["ENETUNREACH", "ENODEV"] for group in OUTSIDE_OF_IT}


@pytest.mark.disruptive
def test_articles_group_hides_the_mistake(build_lab):
    """With the article's /8 every node receives the article's test group, 224.1.1.1, which hides the error."""
    lab = build_lab(topology="article")

    with lab.listen(lab.hosts, group=IN_THE_ARTICLES_ROUTE, interface=ROUTING_TABLE) as heard:
        for sender in lab.hosts.values():
            sender.udp.send(to=IN_THE_ARTICLES_ROUTE)

    heard.exactly_once(at=lab.hosts)
