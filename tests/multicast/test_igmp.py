"""
IGMP: the reports that a host sends when it joins and leaves, as they arrive at the far end of its tunnel.

    spoke1: join --tunnel1--> hub gretap1      v3 to 224.0.0.22, v2 and v1 to the group; v2 leaves by 224.0.0.2
    always TTL 1, TOS 0xc0, Router Alert (RFC 3376 section 4, RFC 2236 section 2, RFC 2113)
"""

import contextlib

import pytest

from fixtures.probes import await_igmp, decode, layers

V1_REPORT, V2_REPORT, V2_LEAVE, V3_REPORT = 0x12, 0x16, 0x17, 0x22
VERSIONS = {1: V1_REPORT, 2: V2_REPORT, 3: V3_REPORT}
TO_INCLUDE, TO_EXCLUDE = 3, 4  # CHANGE_TO_INCLUDE_MODE: left; CHANGE_TO_EXCLUDE_MODE: joined
ALL_ROUTERS, ALL_IGMPV3_ROUTERS = "224.0.0.2", "224.0.0.22"
ROUTER_ALERT = bytes.fromhex("94040000")
HEADER = {"ttl": 1, "tos": 0xC0, "options": ROUTER_ALERT}
REPEATED_WITHIN = 10  # ms; the kernel's second instead of this would only make the test slower

pytestmark = [pytest.mark.requirement("MCAST-04"), pytest.mark.disruptive]


@contextlib.contextmanager
def speaking(host, version):
    """The host uses one IGMP version on the overlay, and repeats its reports without long pauses."""
    settings = f"net.ipv4.conf.{host.plan.device}"
    with host.node.with_sysctl(f"{settings}.force_igmp_version", version):
        with host.node.with_sysctl(f"{settings}.igmpv3_unsolicited_report_interval", REPEATED_WITHIN):
            yield


def header_of(sighting, packet):
    """The fixed fields in the IPv4 header of an IGMP message."""
    return {"ttl": packet.ttl, "tos": packet.tos, "options": sighting.frame[34 : 14 + 4 * packet.ihl]}


def test_v3_reports_join_and_leave_igmp_qrv_times(mutable_lab, receiver, igmp_records, fresh_group):
    """A v3 host sends its join (type 4) and its leave (type 3) igmp_qrv times each, to 224.0.0.22."""
    watcher, interface = mutable_lab.uplink(receiver)
    times = int(receiver.node.sysctl("net.ipv4.igmp_qrv"))

    with speaking(receiver, 3), receiver.member() as member:
        member.join(fresh_group)
        await_igmp(watcher, interface, fresh_group, count=times)
        member.leave(fresh_group)
        seen = await_igmp(watcher, interface, fresh_group, count=2 * times)

    assert [record.rtype for record in igmp_records(seen, fresh_group)] == [TO_EXCLUDE] * times + [TO_INCLUDE] * times
    assert {decode(sighting)[layers.IP].dst for sighting in seen} == {ALL_IGMPV3_ROUTERS}


def test_report_of_every_version_has_the_same_header(mutable_lab, receiver, fresh_group):
    """A join is reported in the host's IGMP version, always with TTL 1, TOS 0xc0 and Router Alert."""
    watcher, interface = mutable_lab.uplink(receiver)
    reports = {}

    for version in VERSIONS:
        with speaking(receiver, version), receiver.member() as member:
            member.join(fresh_group)
            reports[version] = await_igmp(watcher, interface, fresh_group, kind=VERSIONS[version])[0]

    for version, sighting in reports.items():
        packet = decode(sighting)[layers.IP]
        to = ALL_IGMPV3_ROUTERS if version == 3 else fresh_group
        assert (version, packet.src, packet.dst) == (version, receiver.address(), to)
        assert (version, header_of(sighting, packet)) == (version, HEADER)


def test_v2_leaves_by_the_all_routers_group(mutable_lab, spoke1, fresh_group):
    """A v2 host leaves with a leave message for the group to 224.0.0.2, with the same header."""
    watcher, interface = mutable_lab.uplink(spoke1)

    with speaking(spoke1, 2), spoke1.member() as member:
        member.join(fresh_group)
        reports = len(await_igmp(watcher, interface, fresh_group))
        member.leave(fresh_group)
        sighting = await_igmp(watcher, interface, fresh_group, count=reports + 1)[-1]

    packet = decode(sighting)[layers.IP]
    assert (packet.dst, packet.payload.type, packet.payload.gaddr) == (ALL_ROUTERS, V2_LEAVE, fresh_group)
    assert header_of(sighting, packet) == HEADER


def test_v1_leaves_without_a_word(mutable_lab, spoke1, fresh_group, listen):
    """A v1 host leaves silently: what it sends after the leave arrives, and no message about the group with it."""
    watcher, interface = mutable_lab.uplink(spoke1)

    with speaking(spoke1, 1), spoke1.member() as member:
        member.join(fresh_group)
        await_igmp(watcher, interface, fresh_group)
        with listen([watcher]) as heard:
            member.leave(fresh_group)
            spoke1.udp.send(to=watcher.address())

    heard.exactly_once(at=[watcher.name])
    said = {decode(sighting)[layers.IP].payload.type for sighting in await_igmp(watcher, interface, fresh_group)}
    assert said == {V1_REPORT}
