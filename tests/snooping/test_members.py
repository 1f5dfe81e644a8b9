"""
The hub's list comes from membership reports: a member whose IGMP does not reach a pruning hub gets nothing.

    spoke2: join 239.195.0.1 --IGMP, TTL 1--> ( hub: bridge0, querier, MDB: 239.195.0.1 at tunnel2 )
                    a firewall, or a router and `ttl inherit`: no entry, no delivery, whatever the datagram's TTL
"""

import pytest

from fixtures.areas.snooping import await_listed, await_pruning, hub_port, listed
from fixtures.areas.underlay import await_time_exceeded, unlimited_errors
from fixtures.probes import firewall
from fixtures.requirements import not_applicable

MDNS = "224.0.0.251"
LARGE_TTL, FIXED = 64, 64
NO_IGMP = ("OUTPUT", "-p", "igmp", "-j", "DROP")

pytestmark = pytest.mark.requirement("SNOOP-05")


def heard_by(lab, sender, receiver, to, group=None, **more):
    """How many copies a receiver gets of a datagram with a large TTL."""
    with lab.listen([receiver], group=group) as heard:
        sent = sender.udp.send(to=to, ttl=LARGE_TTL, multicast_interface=sender.address(), **more)
    return heard.payloads[receiver.name].count(sent.payload)


def test_every_member_is_listed_at_its_port(overlay, receiver, parameters, fresh_group):
    """Once a node has joined a group, the hub lists the group at the port to it, and at no other."""
    if not parameters(overlay)["mcast_snooping"]:
        not_applicable(f"{overlay.topology.bridge} does not snoop: it lists nothing, and floods")

    with receiver.member() as member:
        member.join(fresh_group)
        await_listed(overlay, fresh_group, [receiver.name])
        found = listed(overlay, fresh_group)

    port = hub_port(overlay, receiver.name)
    assert found == {name for name in overlay.hosts if hub_port(overlay, name) == port}


def test_every_listed_member_receives_from_every_sender(querier_lab, fresh_group):
    """With a querier each node's datagram is received once by members on all nodes, its own included."""
    lab = querier_lab

    with lab.listen(lab.hosts, group=fresh_group) as heard:
        await_listed(lab, fresh_group, lab.hosts)
        for sender in lab.hosts.values():
            sender.udp.send(to=fresh_group, multicast_interface=sender.address())

    heard.exactly_once(at=lab.hosts)


@pytest.mark.disruptive
def test_a_member_whose_reports_are_filtered_is_deaf(querier_lab, set_bridge, fresh_group):
    """A member whose reports are filtered is not listed and misses only the group; after the next query it gets it."""
    lab = querier_lab
    sender, other, member = *lab.spokes[:2], lab.spokes[-1]
    group = fresh_group

    with member.member() as filtered:
        with firewall(member, NO_IGMP), other.member() as well:
            filtered.join(group)
            well.join(group)
            await_listed(lab, group, [other.name])
            heard = {host.name: heard_by(lab, sender, host, group, group) for host in (other, member)}
            spared = heard_by(lab, sender, member, lab.everyone), heard_by(lab, sender, member, MDNS, MDNS)
            without = listed(lab, group)
        # the other one has left: a new querier floods, and hosts keep a report that another made (RFC 2236 section 3)
        set_bridge(lab, mcast_querier=0)
        set_bridge(lab, mcast_querier=1)  # sends a query at once
        await_listed(lab, group, [member.name])
        await_pruning(lab)
        again = heard_by(lab, sender, member, group, group)

    assert (without, heard, spared) == ({other.name}, {other.name: 1, member.name: 0}, (1, 1))
    assert again == 1


class TestAcrossARouter:
    def test_reports_die_with_an_inherited_ttl(self, standing, quick_querier, fresh_group):
        """With `ttl inherit` no member behind a router is listed or gets its group; broadcast and 224.0.0.x arrive."""
        lab = standing(routers=1, ttl=None, bridge=quick_querier)
        await_pruning(lab)
        sender, member = lab.hub, lab.spokes[-1]
        asked_for = bytes(map(int, fresh_group.split(".")))

        with unlimited_errors(lab.nodes["r1"]), member.member() as joined:
            joined.join(fresh_group)
            returned = await_time_exceeded(member, asked_for)
            found = listed(lab, fresh_group)
            copies = heard_by(lab, sender, member, fresh_group, fresh_group)

        assert returned
        assert (found, copies) == (set(), 0)
        assert heard_by(lab, sender, member, lab.everyone) == 1
        assert heard_by(lab, sender, member, MDNS, MDNS) == 1

    def test_reports_arrive_with_a_fixed_ttl(self, standing, quick_querier, fresh_group):
        """With `ttl 64` a member behind the router is listed and receives the group, whose TTL is 1."""
        lab = standing(routers=1, ttl=FIXED, bridge=quick_querier)
        await_pruning(lab)
        member = lab.spokes[-1].name

        with lab.listen([member], group=fresh_group) as heard:
            await_listed(lab, fresh_group, [member])
            lab.hub.udp.send(to=fresh_group, multicast_interface=lab.hub.address())

        heard.exactly_once(at=[member])
