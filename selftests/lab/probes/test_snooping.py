"""
The hub's list of members: read, waited for, and waited for by itself where live hosts would be deaf without it.

    spoke: join --IGMP--> ( hub: bridge0, MDB )          sent before it is there: pruned
"""

import time

import pytest

from lab import groups
from lab.errors import CheckFailed
from lab.live import LiveLab
from lab.probes.host_state import snooping
from lab.stack.changes import bridge, link_set

PRUNING = (  # at once: a querier floods for the length of the response interval, 1/100 s here
    bridge(mcast_query_response_interval=1),
    bridge(mcast_querier=1),
    bridge(mcast_query_response_interval=10),
)


@pytest.fixture
def pruning(lab):
    """A lab whose hub prunes."""
    lab.hub.node.apply(*(link_set(lab.topology.bridge, parameters) for parameters in PRUNING))
    deadline = time.monotonic() + 5
    while lab_floods(lab):
        assert time.monotonic() < deadline
    return lab


def lab_floods(lab):
    """Whether a group without members reaches the last spoke."""
    group = groups.fresh(groups.ORGANIZATION)
    with lab.listen([lab.spokes[-1]], group=group, join=False) as heard:
        lab.hub.udp.send(to=group)
    return any(seen.node == lab.spokes[-1].name for seen in heard.sightings())


def test_members_are_listed_by_port(lab):
    """A spoke that joins is listed at its port, the hub at its bridge, both without a source."""
    group = groups.fresh(groups.ORGANIZATION)
    ports = [snooping.port_of(lab.topology, name) for name in ("hub", "spoke2")]

    with lab.hub.member() as here, lab["spoke2"].member() as there:
        for member in (here, there):
            member.join(group)
        snooping.await_listed(lab.hub.node, group, ports)
        entries = [entry for entry in lab.hub.node.read("mdb") if entry.group == group]

    assert {(entry.bridge, entry.port, entry.source) for entry in entries} == {
        (lab.topology.bridge, port, None) for port in ports
    }


def test_a_wait_that_times_out_names_the_listed_members(lab):
    """When no host joins, the wait ends at its deadline and reports the content of the list."""
    with pytest.raises(CheckFailed, match=r"hub does not list \w+1 for 239\.1\.2\.3 after 0\.05 s; .* lists no port"):
        snooping.await_listed(lab.hub.node, "239.1.2.3", [lab.topology.ports("hub")[0]], timeout=0.05)


def test_live_hosts_receive_datagrams_sent_right_after_the_join(pruning):
    """If the hub prunes, the block of a live lab begins when the hub has received the members' reports."""
    machines = dict.fromkeys(pruning.hosts, pruning.machine)
    live = LiveLab(machines, pruning.topology, pruning.underlay, pruning.nodes)
    live.prunes = True
    group, members = groups.fresh(groups.ORGANIZATION), [spoke.name for spoke in live.spokes]

    with live.listen(members, group=group) as heard:
        sent = live.hub.udp.send(to=group)

    assert heard.payloads == {name: [sent.payload] for name in members}
