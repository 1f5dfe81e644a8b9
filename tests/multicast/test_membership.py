"""
Membership: a host receives the groups that it joined, from the join to the leave; which of its sockets get a copy.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2    flooded to all, filtered by membership at each
"""

import errno

import pytest

from lab import groups

GROUP = groups.fresh()
ANOTHERS, OWN = groups.several(2, groups.ARTICLE)
MANY = groups.several(41)


def came_in(heard, host):
    """Whether the frames of what was sent came in on the host's overlay device."""
    return any((seen.node, seen.interface, seen.outgoing) == (host.name, host.entry_device, False) for seen in heard)


@pytest.mark.needs("flooding")
@pytest.mark.requirement("MCAST-02")
@pytest.mark.parametrize("bind", ["", GROUP], ids=["bound to any", "bound to the group"])
def test_non_member_receives_nothing(overlay, receiver, listen, bind):
    """A host without a member socket delivers no datagram of a group whose frame reached it; a member's host does."""
    *members, sender = (overlay[name] for name in overlay.others(receiver))

    with listen(members or [sender], group=GROUP) as member:
        with listen([receiver], group=GROUP, join=False, bind=bind, port=member.port) as heard:
            sender.udp.send(to=GROUP, multicast_interface=sender.address())

    member.exactly_once(at=member.at)
    heard.nothing(at=[receiver.name])
    assert came_in(heard.sightings(), receiver)


@pytest.mark.requirement("MCAST-03")
def test_delivery_stops_when_the_last_member_leaves(overlay, receiver, listen, fresh_group):
    """After a leave the host is not a member and its socket receives nothing, while the other members still do."""
    others = overlay.others(receiver)
    sender = overlay[others[-1]]

    with listen([receiver, *others], group=fresh_group) as heard:
        joined = receiver.memberships()[receiver.plan.device]
        heard.leave(receiver.name)
        left = receiver.memberships()[receiver.plan.device]
        sender.udp.send(to=fresh_group, multicast_interface=sender.address())

    heard.copies({receiver.name: 0, **dict.fromkeys(others, 1)})
    assert (fresh_group in joined, fresh_group in left) == (True, False)


@pytest.mark.requirement("MCAST-03")
def test_delivery_goes_on_while_another_socket_is_a_member(overlay, receiver, listen, fresh_group):
    """A second member socket on the host keeps the membership when the first one leaves."""
    sender = overlay[overlay.others(receiver)[-1]]

    with listen([receiver], group=fresh_group) as first:
        with listen([receiver], group=fresh_group, port=first.port) as second:
            first.leave(receiver.name)
            sender.udp.send(to=fresh_group, multicast_interface=sender.address())

    second.exactly_once(at=[receiver.name])


@pytest.mark.requirement("MCAST-03")
def test_membership_errors_say_what_is_wrong(receiver):
    """Joining twice is EADDRINUSE, leaving a group not joined EADDRNOTAVAIL, joining a unicast address EINVAL."""
    refused = {}

    with receiver.member() as member:
        member.join(GROUP, wait=True)
        for what, request in {
            "joined twice": lambda: member.join(GROUP, wait=True),
            "left without a join": lambda: member.leave(OWN, wait=True),
            "joined a unicast address": lambda: member.join(receiver.address(), wait=True),
        }.items():
            with pytest.raises(OSError) as error:
                request()
            refused[what] = errno.errorcode[error.value.errno]

    assert refused == {
        "joined twice": "EADDRINUSE",
        "left without a join": "EADDRNOTAVAIL",
        "joined a unicast address": "EINVAL",
    }


@pytest.mark.requirement("MCAST-10")
@pytest.mark.parametrize(
    ("binding", "copies"),
    [({}, 1), ({"all_groups": False}, 0), ({"group": OWN}, 0), ({"group": OWN, "join": False}, 0)],
    ids=["bound to any", "IP_MULTICAST_ALL=0", "bound to its own group", "bound to a group and not joined"],
)
def test_socket_receives_another_sockets_group_only_by_default(overlay, receiver, listen, binding, copies):
    """A socket bound to any address receives groups that another socket joined, unless IP_MULTICAST_ALL is 0."""
    sender = overlay[overlay.others(receiver)[-1]]

    with receiver.member() as another:
        another.join(ANOTHERS)
        with listen([receiver], **binding) as heard:
            sender.udp.send(to=ANOTHERS, multicast_interface=sender.address())

    heard.copies({receiver.name: copies})
    assert came_in(heard.sightings(), receiver)


@pytest.mark.requirement("MCAST-13")
def test_twenty_first_membership_is_refused(receiver):
    """A socket joins twenty groups; the next one is ENOBUFS."""
    with receiver.member() as member:
        member.join(*MANY[:20], wait=True)
        with pytest.raises(OSError) as refused:
            member.join(MANY[20], wait=True)

    assert errno.errorcode[refused.value.errno] == "ENOBUFS"


@pytest.mark.disruptive
@pytest.mark.requirement("MCAST-13")
def test_raised_limit_allows_more_memberships(mutable_lab, spoke1):
    """With igmp_max_memberships raised to 40 a socket joins forty groups and no more."""
    with spoke1.node.with_sysctl("net.ipv4.igmp_max_memberships", 40), spoke1.member() as member:
        member.join(*MANY[:40], wait=True)
        with pytest.raises(OSError) as refused:
            member.join(MANY[40], wait=True)

    assert errno.errorcode[refused.value.errno] == "ENOBUFS"
