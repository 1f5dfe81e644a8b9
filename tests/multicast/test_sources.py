"""
Source-specific multicast: a member of (S, G) receives the group only from S (RFC 4607).

    spoke1 -- 232.1.1.1 -->( hub: bridge0 )--> spoke2: member of (spoke1, 232.1.1.1)
    hub    -- 232.1.1.1 -->                    flooded to it, filtered there
"""

import pytest

from fixtures.probes import await_igmp
from lab import groups

SSM = groups.fresh(groups.SOURCE_SPECIFIC)
ALLOW_NEW_SOURCES, BLOCK_OLD_SOURCES = 5, 6  # RFC 3376 section 4.2.12

pytestmark = pytest.mark.requirement("MCAST-05")


@pytest.mark.parametrize("position", [0, -1], ids=["listed=first other", "listed=last other"])
def test_member_receives_from_the_listed_source_only(overlay, receiver, listen, position):
    """Of datagrams that every node sends to the group the member receives exactly the one of its listed source."""
    listed = overlay[overlay.others(receiver)[position]]

    with listen([receiver], group=SSM, source=listed.address()) as heard:
        sent = {host.name: host.udp.send(to=SSM, multicast_interface=host.address()) for host in overlay.hosts.values()}

    assert heard.payloads == {receiver.name: [sent[listed.name].payload]}


def test_sources_of_two_sockets_stay_apart(overlay, receiver, listen):
    """Two sockets of a host that list different sources each receive only their own, though the host receives both."""
    first, last = overlay[overlay.others(receiver)[-1]], receiver

    with listen([receiver], group=SSM, source=first.address()) as from_first:
        with listen([receiver], group=SSM, source=last.address(), port=from_first.port) as from_last:
            sent = [host.udp.send(to=SSM, multicast_interface=host.address()) for host in (first, last)]

    assert from_first.payloads == {receiver.name: [sent[0].payload]}
    assert from_last.payloads == {receiver.name: [sent[1].payload]}


def test_leaving_the_source_stops_delivery(overlay, receiver, listen):
    """After IP_DROP_SOURCE_MEMBERSHIP a socket receives nothing from the dropped source; another member still does."""
    listed = overlay[overlay.others(receiver)[-1]]

    with listen([receiver, listed], group=SSM, source=listed.address()) as heard:
        heard.leave(receiver.name)
        listed.udp.send(to=SSM, multicast_interface=listed.address())

    heard.copies({receiver.name: 0, listed.name: 1})


def test_report_names_the_source(overlay, receiver, igmp_records):
    """The join's IGMPv3 record is ALLOW_NEW_SOURCES with the listed source, the leave's BLOCK_OLD_SOURCES with it."""
    source = overlay[overlay.others(receiver)[-1]].address()
    group = groups.fresh(groups.SOURCE_SPECIFIC)
    watcher, interface = overlay.uplink(receiver)

    with receiver.member() as member:
        member.join(group, source=source)
        joined = await_igmp(watcher, interface, group)
        member.leave(group, source=source)
        seen = await_igmp(watcher, interface, group, count=len(joined) + 1)
        # a host repeats its report of a join, and a slow one does so after the leave has been asked for
        while BLOCK_OLD_SOURCES not in {record.rtype for record in igmp_records(seen, group)}:
            seen = await_igmp(watcher, interface, group, count=len(seen) + 1)

    records = [(record.rtype, record.srcaddrs) for record in igmp_records(seen, group)]
    assert (records[0], records[-1]) == ((ALLOW_NEW_SOURCES, [source]), (BLOCK_OLD_SOURCES, [source]))
