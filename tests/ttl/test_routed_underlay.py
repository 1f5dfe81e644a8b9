"""
An underlay that spends TTL: k routers between the hub's subnet and the spokes'.

    spoke1 ==tunnel== r(k) - ... - r1 ==tunnel== hub      each router takes one from the outer TTL

Packets that `ttl inherit` loses and a fixed TTL keeps; on a flat underlay (k=0) the two do not differ.
"""

import pytest

from fixtures.areas.underlay import await_time_exceeded, device_errors, errors_about, unlimited_errors, unrouted
from fixtures.probes import await_igmp
from lab import groups
from lab.model import ALL_HOSTS

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
LINK_LOCAL_GROUP = "224.0.0.5"  # OSPF's, always TTL 1 (RFC 2328)
INNER_TTLS = (1, 2, 3, 64)
FIXED = 64
TIME_EXCEEDED = "time exceeded"

hops = pytest.mark.parametrize("routers", [1, 2], ids="routers={}".format)
destination = pytest.mark.parametrize("kind", ["broadcast", "multicast"])


def exchange(lab, kind):
    """Every node sends one broadcast or multicast datagram with each inner TTL; returns the deliveries, by TTL."""
    sent = {}
    with lab.listen(lab.hosts, group=GROUP if kind == "multicast" else None) as heard:
        for ttl in INNER_TTLS:
            for host in lab.hosts.values():
                stimulus = host.udp.send(to=GROUP if kind == "multicast" else lab.everyone, ttl=ttl)
                sent[stimulus.payload] = ttl, host.name
    who = {ttl: {name: set() for name in lab.hosts} for ttl in INNER_TTLS}
    for name, payloads in heard.payloads.items():
        for ttl, sender in map(sent.get, payloads):
            who[ttl][name] |= {sender} - {name}
    return who


def all_others(lab):
    """Every node receives from every other."""
    return {name: set(lab.others(name)) for name in lab.hosts}


def none_across(lab):
    """No node receives from a node across a router."""
    return {name: unrouted(lab, host) for name, host in lab.hosts.items()}


def heard_from(lab, sender, kind, **fields):
    """Sends one broadcast or multicast datagram and returns the receivers, once each."""
    others = lab.others(sender)
    with lab.listen(others, group=GROUP if kind == "multicast" else None) as heard:
        sent = sender.udp.send(to=GROUP if kind == "multicast" else lab.everyone, **fields)
    return {name for name, payloads in heard.payloads.items() if payloads == [sent.payload]}


def times_exceeded(host):
    """How many errors of that kind a host has had, by ICMP or, on an underlay of IPv6, by ICMPv6."""
    counters = host.node.counters()
    return counters["IcmpInTimeExcds"] + counters.get("Icmp6InTimeExcds", 0)


@pytest.mark.requirement("TTL-02")
class TestInherited:
    @hops
    @destination
    def test_crosses_fewer_routers_than_it_has_ttl(self, standing, kind, routers):
        """With `ttl inherit` a packet arrives across k routers if and only if its inner TTL exceeds k."""
        lab = standing(routers=routers, ttl=None)

        heard = exchange(lab, kind)

        assert heard == {ttl: all_others(lab) if ttl > routers else none_across(lab) for ttl in INNER_TTLS}

    @destination
    def test_one_suffices_where_nothing_is_spent(self, standing, kind):
        """With `ttl inherit` on a flat underlay a TTL of 1 reaches every other node."""
        lab = standing(ttl=None)

        assert heard_from(lab, lab.spokes[0], kind, ttl=1) == set(lab.others(lab.spokes[0]))


@pytest.mark.requirement("TTL-03")
class TestFixed:
    @hops
    @destination
    def test_carries_every_inner_ttl(self, standing, kind, routers):
        """With `ttl 64` on both ends every inner TTL crosses the routers."""
        lab = standing(routers=routers, ttl=FIXED)

        assert exchange(lab, kind) == {ttl: all_others(lab) for ttl in INNER_TTLS}

    def test_one_more_than_the_routers_suffices(self, standing):
        """The smallest fixed TTL with which every packet crosses one router is 2."""
        enough, too_little = standing(routers=1, ttl=2), standing(routers=1, ttl=1)

        assert heard_from(enough, enough.hub, "multicast", ttl=1) == set(enough.others("hub"))
        assert heard_from(too_little, too_little.hub, "multicast", ttl=1) == set()

    @hops
    def test_lets_every_node_answer_a_ping_to_all_hosts(self, standing, routers):
        """With `ttl 64` a ping to 224.0.0.1, whose TTL is 1, is answered by every node across the routers."""
        lab = standing(routers=routers, ttl=FIXED)

        for pinger in lab.hosts.values():
            pinger.ping(ALL_HOSTS, device=pinger.plan.device, ttl=1).exactly_once_by(lab.hosts)

    @pytest.mark.disruptive
    def test_on_one_end_helps_that_direction_only(self, build_lab):
        """With `ttl 64` at the spoke and `ttl inherit` at the hub, TTL 1 passes to the hub and not from it."""
        lab = build_lab(routers=1, ttl=FIXED)
        spoke = lab.spokes[0]
        lab.remake_tunnel(lab.hub, spoke, ttl=None)

        assert "hub" in heard_from(lab, spoke, "multicast", ttl=1)
        assert heard_from(lab, lab.hub, "multicast", ttl=1) == set(lab.others("hub")) - {spoke.name}


@pytest.mark.requirement("TTL-04")
def test_loss_shows_in_icmp_and_not_at_the_tunnel(standing):
    """Each packet lost to TTL raises InTimeExcds at its sender, whose send succeeds and whose tunnel is clean."""
    lab = standing(routers=1, ttl=None)
    spoke = lab.spokes[0]
    device, lost = spoke.plan.device, 5
    first = [hop.end.host for hop in lab.topology.flooded(spoke.name) if hop.start.host == spoke.name]
    copies = len(set(first) - unrouted(lab, spoke))
    before, counted = spoke.node.statistics(device), times_exceeded(spoke)
    errors = device_errors(lab, spoke)

    with unlimited_errors(lab.nodes["r1"]), lab.listen(lab.others(spoke), group=GROUP) as heard:
        sent = [spoke.udp.send(to=GROUP, ttl=1) for _ in range(lost)]

    heard.nothing(at=set(lab.others(spoke)) - unrouted(lab, spoke))
    assert errors_about(lab, spoke, [stimulus.payload for stimulus in sent]) == [TIME_EXCEEDED] * lost * copies
    # membership reports of earlier tests are repeated for seconds and expire as well: at least that many
    assert times_exceeded(spoke) - counted >= lost
    assert device_errors(lab, spoke) == errors
    assert spoke.node.statistics(device)["tx_packets"] - before["tx_packets"] >= lost


@pytest.mark.requirement("TTL-05")
class TestSignature:
    """Broadcast arrives, multicast does not: the cause is the tunnel's TTL."""

    def test_broadcast_ping_is_well_and_all_hosts_dead(self, standing):
        """With `ttl inherit` every node answers a broadcast ping, and no node across a router a ping to 224.0.0.1."""
        lab = standing(routers=1, ttl=None)

        for pinger in lab.hosts.values():
            pinger.ping(lab.everyone).exactly_once_by(lab.hosts)
            pinger.ping(ALL_HOSTS, device=pinger.plan.device, ttl=1).exactly_once_by(
                [pinger.name, *unrouted(lab, pinger)]
            )

    def test_multicast_lives_by_its_ttl(self, standing):
        """With `ttl inherit` multicast with TTL 1, the default, is lost behind a router; with TTL 64 it arrives."""
        lab = standing(routers=1, ttl=None)
        spoke = lab.spokes[0]

        assert heard_from(lab, spoke, "multicast") == unrouted(lab, spoke)
        assert heard_from(lab, spoke, "multicast", ttl=64) == set(lab.others(spoke))

    @pytest.mark.parametrize(("ttl", "delivered"), [(None, False), (FIXED, True)], ids=["ttl_inherit", "ttl_64"])
    def test_link_local_multicast_needs_a_fixed_ttl(self, standing, ttl, delivered):
        """Routing protocols' groups, whose packets have TTL 1, cross a router only in a tunnel with a fixed TTL."""
        lab = standing(routers=1, ttl=ttl)
        spoke = lab.spokes[0]
        others = lab.others(spoke)

        with lab.listen(others, group=LINK_LOCAL_GROUP) as heard:
            sent = spoke.udp.send(to=LINK_LOCAL_GROUP, ttl=1)

        reached = others if delivered else unrouted(lab, spoke)
        assert heard.payloads == {name: [sent.payload] if name in reached else [] for name in others}

    def test_a_membership_report_dies_at_the_router(self, standing, fresh_group):
        """With `ttl inherit` an IGMP report, TTL 1, causes an ICMP time exceeded and never reaches the hub."""
        lab = standing(routers=1, ttl=None)
        spoke, asked_for = lab.spokes[0], bytes(map(int, fresh_group.split(".")))

        with unlimited_errors(lab.nodes["r1"]), spoke.member() as member:
            member.join(fresh_group)
            returned = await_time_exceeded(spoke, asked_for)

        assert returned
        assert [str(one) for one in lab.frames([asked_for]) if one.node == "hub"] == []

    def test_a_membership_report_crosses_with_a_fixed_ttl(self, standing, fresh_group):
        """With `ttl 64` the hub receives an IGMP report through the router."""
        lab = standing(routers=1, ttl=FIXED)
        spoke = lab.spokes[0]

        with spoke.member() as member:
            member.join(fresh_group)
            heard = await_igmp(lab.hub, lab.topology.port("hub", spoke.name), fresh_group)

        assert heard
