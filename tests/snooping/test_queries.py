"""
The querier's queries: their format, their times, and their effects.

    ( hub: bridge0, querier ) --general query to 224.0.0.1--> spoke1, spoke2     --report--> the hub's list
                              --query about one group----->   the member that has left; no answer: struck off
"""

import pytest

from fixtures.areas.snooping import await_listed, await_pruning, came_in, igmp_frames, igmp_version, listed
from fixtures.probes import await_frames, await_igmp, decode, layers
from lab.model import ALL_HOSTS
from lab.stack.changes import bridge_port

UNSPECIFIED = "0.0.0.0"
QUERY = 0x11
TTL, TOS, ROUTER_ALERT = 1, 0xC0, bytes.fromhex("94040000")
ALL_ON_QUERY = bytes([224, 0, 0, 1]) + ROUTER_ALERT  # destination and option: of a general query's header
LENGTHS = {2: 8, 3: 12}  # octets of a query (RFC 2236 section 2, RFC 3376 section 4.1)
IP_PROTOCOL, IGMP_TYPE, FIRST_RECORD = 23, 38, 46  # offsets in a frame with Router Alert (RFC 3376 section 4.2)
IGMP, V3_REPORT, MODE_IS_EXCLUDE = b"\x02", b"\x22", b"\x02"  # unsolicited reports have other modes
DEADLINE = 2.0  # seconds; only reached where something is wrong
TICKS = 100  # of the bridge's clock, a second
TICK = 0.011  # seconds: the kernel's own clock may be slower than the bridge's
DEFAULTS = {  # seconds: RFC 3376 section 8
    "mcast_query_interval": 125,
    "mcast_startup_query_interval": 31.25,
    "mcast_query_response_interval": 10,
    "mcast_last_member_interval": 1,
    "mcast_membership_interval": 260,
    "mcast_querier_interval": 255,
}


def await_queries(spoke, count):
    """`await_queries(spoke, 2)`: the general queries that have come to a spoke, once there are as many."""
    seen = await_frames(
        spoke,
        spoke.plan.device,
        [(IP_PROTOCOL, IGMP), (IGMP_TYPE, bytes([QUERY]))],
        tag=ALL_ON_QUERY,
        count=count,
        timeout=DEADLINE,
    )
    assert len(seen) >= count, f"{spoke} received {len(seen)} of {count} queries within {DEADLINE:g} s"
    return seen


@pytest.fixture
def asking_lab(build_lab, quick_querier, set_bridge):
    """`asking_lab(**parameters)`: a lab whose bridge became querier after the captures began."""

    def build(**parameters):
        lab = build_lab(bridge={**quick_querier, **parameters, "mcast_querier": 0})
        set_bridge(lab, mcast_querier=1)
        return lab

    return build


@pytest.mark.requirement("SNOOP-03")
class TestTimes:
    def test_entries_outlive_the_questions(self, overlay, parameters):
        """A report is valid until two queries and the time to answer have passed (RFC 3376 section 8.4)."""
        found = parameters(overlay)
        needed = 2 * found["mcast_query_interval"] + found["mcast_query_response_interval"]

        kept = found["mcast_membership_interval"]
        assert kept >= needed, (
            f"hub {overlay.topology.bridge}: mcast_membership_interval is {kept} ({kept / TICKS:g} s); expected at "
            f"least {needed} ({needed / TICKS:g} s: two query intervals and the response interval, "
            "RFC 3376 section 8.4)"
        )

    @pytest.mark.disruptive
    @pytest.mark.usefixtures("one_way")
    def test_a_new_querier_takes_its_time(self, build_lab, parameters, set_bridge, fresh_group):
        """A new querier has the intervals of RFC 3376, queries at once, and floods unknown groups for 10 s."""
        lab = build_lab()
        found = parameters(lab)
        set_bridge(lab, mcast_querier=1)

        seconds = {f"{name} (seconds)": found[name] / TICKS for name in DEFAULTS}
        assert seconds == pytest.approx({f"{name} (seconds)": usual for name, usual in DEFAULTS.items()}, abs=TICK)
        assert len(await_queries(lab.spokes[0], 1)) == 1
        assert came_in(lab, lab.hub, fresh_group) == set(lab.others("hub"))

    @pytest.mark.disruptive
    def test_a_leave_counts_after_the_last_question(self, asking_lab, fresh_group):
        """After a leave the hub queries the group, and removes the port when no report arrives in time."""
        lab = asking_lab(mcast_last_member_interval=5)
        member = lab.spokes[0]

        with member.member() as joined:
            joined.join(fresh_group)
            await_listed(lab, fresh_group, [member.name])
            joined.leave(fresh_group)
            await_igmp(member, member.plan.device, fresh_group, kind=QUERY)
            await_listed(lab, fresh_group, [member.name], present=False)

    @pytest.mark.disruptive
    def test_a_leave_counts_at_once_with_fastleave(self, asking_lab, fresh_group):
        """A member that left stays listed for as long as others may answer, 20 s here; on a port with fastleave not."""
        lab = asking_lab(mcast_last_member_interval=10 * TICKS)
        await_pruning(lab)  # until then reports are flooded, and suppress those of other members (RFC 2236 section 3)
        member, other = lab.spokes[:2]
        port = lab.topology.port("hub", member.name)
        lab.hub.node.apply(bridge_port(port, fastleave=1))

        with member.member() as quick, other.member() as slow:
            for joined in (quick, slow):
                joined.join(fresh_group)
            await_listed(lab, fresh_group, [member.name, other.name])
            for joined in (quick, slow):
                joined.leave(fresh_group)
            await_igmp(other, other.plan.device, fresh_group, kind=QUERY)
            await_listed(lab, fresh_group, [member.name], present=False)

        assert listed(lab, fresh_group) == {other.name}

    @pytest.mark.disruptive
    def test_an_entry_that_is_not_renewed_expires(self, asking_lab, set_bridge, fresh_group):
        """A member that ended without a leave message stays listed for the membership interval, and not longer."""
        lab = asking_lab()
        spoke = lab.spokes[0]
        mac = spoke.node.link(spoke.plan.device).mac
        report = igmp_frames.report(mac, spoke.address(), fresh_group)

        spoke.send_frame(spoke.plan.device, report)
        await_listed(lab, fresh_group, [spoke.name])

        # only now: on a busy machine an entry of 0.3 s expires before it is looked for
        set_bridge(lab, mcast_membership_interval=30)
        spoke.send_frame(spoke.plan.device, report)
        await_listed(lab, fresh_group, [spoke.name], present=False)


@pytest.mark.requirement("SNOOP-04")
@pytest.mark.disruptive
class TestQuery:
    @pytest.mark.parametrize(
        ("settings", "version", "from_bridge"),
        [
            ({}, 2, False),
            ({"mcast_query_use_ifaddr": 1}, 2, True),
            ({"mcast_igmp_version": 3}, 3, False),
        ],
        ids=["default", "mcast_query_use_ifaddr=1", "mcast_igmp_version=3"],
    )
    def test_header(self, asking_lab, settings, version, from_bridge):
        """A query has TTL 1, TOS 0xc0, Router Alert, and source 0.0.0.0 unless mcast_query_use_ifaddr is set."""
        lab = asking_lab(**settings)

        (packet, *_) = [decode(one)[layers.IP] for one in await_queries(lab.spokes[0], 1)]

        assert (packet.dst, packet.ttl, packet.tos) == (ALL_HOSTS, TTL, TOS)
        # each of the hubs of PRP spokes queries
        assert packet.src in ({hub.address() for hub in lab.hubs} if from_bridge else {UNSPECIFIED})
        assert packet.len - 4 * packet.ihl == LENGTHS[version]

    def test_is_answered(self, asking_lab, set_bridge, fresh_group):
        """Every host reports its groups to an IGMPv3 querier that queries from 0.0.0.0."""
        lab = asking_lab(mcast_igmp_version=3)
        asked_for = bytes(map(int, fresh_group.split(".")))
        is_member = [(IP_PROTOCOL, IGMP), (IGMP_TYPE, V3_REPORT), (FIRST_RECORD, MODE_IS_EXCLUDE)]
        answers = {}

        for spoke in lab.spokes:
            port = lab.topology.port("hub", spoke.name)
            with spoke.member() as joined:
                joined.join(fresh_group)
                await_listed(lab, fresh_group, [spoke.name])
                set_bridge(lab, mcast_querier=0)
                set_bridge(lab, mcast_querier=1)
                seen = await_frames(lab.hub, port, is_member, tag=asked_for, count=1, timeout=DEADLINE)
                answers[spoke.name] = len(seen)

        silent = [name for name, count in answers.items() if count != 1]
        assert not silent, f"{', '.join(silent)} sent no IGMP report to the querier; expected one from each spoke"


@pytest.mark.requirement("SNOOP-06")
class TestVersion:
    def test_hosts_speak_the_version_of_the_hubs_querier(self, overlay, parameters):
        """If the hub is not a querier every host uses IGMPv3, and no other querier makes it use an older version."""
        found = parameters(overlay)
        spoken = found["mcast_igmp_version"] if found["mcast_querier"] else 3

        assert {host.name: igmp_version(host) for host in overlay.spokes} == {
            host.name: spoken for host in overlay.spokes
        }

    @pytest.mark.disruptive
    @pytest.mark.parametrize("version", [2, 3], ids="mcast_igmp_version={}".format)
    def test_a_querier_brings_hosts_to_its_own(self, asking_lab, version):
        """Hosts use IGMPv2 after an IGMPv2 query (the bridge's default), and IGMPv3 after an IGMPv3 query."""
        lab = asking_lab(mcast_igmp_version=version)
        for spoke in lab.spokes:
            await_queries(spoke, 1)
            spoke.ping(lab.hub.address())  # goes and comes after the query

        versions = {spoke.name: igmp_version(spoke) for spoke in lab.spokes}
        wrong = [f"{name} uses IGMPv{found}" for name, found in versions.items() if found != version]
        assert not wrong, f"{', '.join(wrong)}; expected IGMPv{version}, as the querier"
