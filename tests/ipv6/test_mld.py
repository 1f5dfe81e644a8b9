"""
MLD: the reports that an IPv6 host sends when it joins a group, as they arrive at the far end of its tunnel.

    spoke1: join ff15::.. --tunnel1--> hub gretap1      to ff02::16, hop limit 1, hop-by-hop Router Alert (RFC 3810)

As with IGMP, a hop limit of 1 dies at the first router of the underlay when the tunnel inherits it.
"""

import ipaddress
import secrets

import pytest

from fixtures.areas.underlay import await_time_exceeded, unlimited_errors
from fixtures.probes import await_mld, carried, decode, layers

pytestmark = pytest.mark.requirement("V6-02")

V2_REPORT = 143
LINK_LOCAL = "fe80::"
ALL_MLDV2_ROUTERS = "ff02::16"
TO_EXCLUDE = 4  # CHANGE_TO_EXCLUDE_MODE: joined
HOP_BY_HOP = 0
ROUTER_ALERT, MLD_ALERT = 5, 0  # option type and its value (RFC 2711 section 2.1)
DISCOVERY_HOPS = 255  # RFC 4861 section 4.3
# a link-local address that no host has: it is asked for every time
UNUSED = str(ipaddress.IPv6Address(ipaddress.IPv6Address(LINK_LOCAL).packed[:8] + secrets.token_bytes(8)))
FIXED = 64


def outer_ttls(frames):
    """The outer TTLs with which tunnelled frames left the hosts that sent them first."""
    return {one.ttl for one in carried(frames) if one.sighting.outgoing}


def test_report_is_what_routers_listen_to(overlay, receiver, listen, mld_records, fresh_group6):
    """A join is a version 2 report to ff02::16 from a link-local address, with hop limit 1 and Router Alert."""
    watcher, interface = overlay.uplink(receiver)

    with listen([receiver], group=fresh_group6):
        packet = decode(await_mld(watcher, interface, fresh_group6, kind=V2_REPORT)[0])

    header, alert = packet[layers.IPv6], packet[layers.RouterAlert]
    assert (header.dst, header.hlim, header.nh) == (ALL_MLDV2_ROUTERS, 1, HOP_BY_HOP)
    assert ipaddress.ip_address(header.src).is_link_local
    assert (alert.otype, alert.value) == (ROUTER_ALERT, MLD_ALERT)
    assert (fresh_group6, TO_EXCLUDE) in mld_records(packet)


def test_inherited_ttl_is_that_of_the_message(standing, listen, fresh_group6):
    """With `ttl inherit` a report travels with an outer TTL of 1, and neighbour discovery with one of 255."""
    lab = standing(ipv6=True, ttl=None)
    spoke = lab.spokes[0]
    group, asked_for = (ipaddress.ip_address(address).packed for address in (fresh_group6, UNUSED))

    with lab.listen([spoke], group=fresh_group6):
        await_mld(*lab.uplink(spoke), fresh_group6, kind=V2_REPORT)
    spoke.ping(UNUSED)

    assert outer_ttls(lab.frames([group])) == {1}
    assert outer_ttls(lab.frames([asked_for])) == {DISCOVERY_HOPS}


def test_report_dies_at_a_router_with_an_inherited_ttl(standing, fresh_group6):
    """With `ttl inherit` a report causes an ICMP time exceeded and never reaches the hub."""
    lab = standing(ipv6=True, routers=1, ttl=None)
    spoke, group = lab.spokes[0], ipaddress.ip_address(fresh_group6).packed

    with unlimited_errors(lab.nodes["r1"]), lab.listen([spoke], group=fresh_group6):
        returned = await_time_exceeded(spoke, group)

    assert returned
    assert [str(one) for one in lab.frames([group]) if one.node == "hub"] == []


def test_report_crosses_a_router_with_a_fixed_ttl(standing, fresh_group6):
    """With `ttl 64` the hub receives a report through the router."""
    lab = standing(ipv6=True, routers=1, ttl=FIXED)
    spoke = lab.spokes[0]

    with lab.listen([spoke], group=fresh_group6):
        heard = await_mld(*lab.uplink(spoke), fresh_group6, kind=V2_REPORT)

    assert heard
