"""
Snooping with a querier: a group is forwarded only to ports that have members, and without members to none.

    spoke1 -- 239.195.0.1 -->( hub: bridge0, querier, MDB: 239.195.0.1 at tunnel2 )--> spoke2      not to spoke3
"""

import contextlib

import pytest

from fixtures.areas.snooping import await_listed, came_in
from lab.stack.changes import bridge_port

ROUTER, ASK = 2, 1  # mcast_router (bridge(8)): a router port always; when a router is heard


@contextlib.contextmanager
def router_port(lab, spoke):
    """The hub treats a spoke's port as a multicast router port."""
    port = {"device": lab.topology.port("hub", spoke.name)}
    on, off = (bridge_port(**port, mcast_router=value) for value in (ROUTER, ASK))
    with lab.hub.node.changed(on, off):
        yield


@pytest.mark.requirement("SNOOP-02")
@pytest.mark.parametrize("name", ["hub", "spoke1", "spoke2", "spoke3"], ids="from={}".format)
class TestPruning:
    def test_a_group_goes_to_its_members_alone(self, querier_lab, name, fresh_group):
        """A group that one spoke joined is received by it once, and arrives at no other spoke."""
        lab = querier_lab
        sender = lab[name]
        member = lab.others(sender)[-1]

        with lab.listen([member], group=fresh_group) as heard:
            await_listed(lab, fresh_group, [member])
            sender.udp.send(to=fresh_group, multicast_interface=sender.address())
            reached = came_in(lab, sender, fresh_group)

        heard.exactly_once(at=[member])
        assert reached == {member}

    def test_a_group_without_members_goes_nowhere(self, querier_lab, name, fresh_group):
        """A group without members arrives at no node, not even at the hub; a broadcast arrives at all others."""
        lab = querier_lab
        sender = lab[name]

        assert came_in(lab, sender, fresh_group) == set()
        with lab.listen(lab.others(sender)) as heard:
            sender.udp.send(to=lab.everyone)
        heard.exactly_once(at=lab.others(sender))

    @pytest.mark.usefixtures("without_stp")
    def test_a_router_port_gets_everything(self, querier_lab, name, fresh_group):
        """Behind a port with mcast_router 2 a spoke receives groups that only others joined, or that no host joined."""
        lab = querier_lab
        sender = lab[name]
        router, member = [spoke for spoke in lab.spokes if spoke is not sender][-2:]

        with router_port(lab, router):
            unregistered = came_in(lab, sender, fresh_group)
            with member.member() as joined:
                joined.join(fresh_group)
                await_listed(lab, fresh_group, [member.name])
                registered = came_in(lab, sender, fresh_group)

        assert (unregistered, registered) == ({router.name}, {router.name, member.name})


@pytest.mark.requirement("SNOOP-02")
def test_the_hub_is_a_member_like_any(querier_lab, fresh_group):
    """A group that the hub itself joined is listed at bridge0, and received there and at the spokes that joined."""
    lab = querier_lab
    sender, member = lab.spokes[0], lab.spokes[-1]

    with lab.listen(["hub", member], group=fresh_group) as heard:
        await_listed(lab, fresh_group, ["hub", member.name])
        sender.udp.send(to=fresh_group, multicast_interface=sender.address())

    heard.exactly_once(at=["hub", member.name])
