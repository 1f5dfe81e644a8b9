"""
The outer IPv4 header: which of its fields are the tunnel's own, and which are taken from the packet inside.

    ttl inherit   outer TTL = inner TTL          ttl 64   outer TTL = 64
    tos 0         outer TOS = 0                  tos inherit   outer TOS = inner TOS
    pmtudisc      DF always                      nopmtudisc    DF as inside     ignore-df   DF never      (GRE)
    df set        DF always                      df inherit    DF as inside     df unset    DF never      (over UDP)
"""

import struct

import pytest

from fixtures.probes import carried, layers
from lab import groups

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
INNER_TTLS = (1, 2, 32, 255)
FIXED = 64
DEFAULT_TTL = "net.ipv4.ip_default_ttl"
EXPEDITED = 0xB8  # DSCP EF (RFC 3246)
ETHERTYPE_IPV6, IPV6_NO_NEXT_HEADER = 0x86DD, 59
BROADCAST_MAC = b"\xff" * 6
UNSET, SET, INHERIT = range(3)  # enum ifla_vxlan_df


def sent_to(lab, to, stimuli=({},), sender=None):
    """Sends a datagram per stimulus (how it is sent), from the first spoke by default; returns what others received."""
    sender = sender or lab.spokes[0]
    listeners = lab.others(sender)
    with lab.listen(listeners, group=None if to == lab.everyone else to) as heard:
        for fields in stimuli:
            sender.udp.send(to=to, **fields)
    heard.exactly_once(at=listeners)
    return heard


def as_sent(lab, packets):
    """The outer packets as each host sent them: routers on the underlay reduce the TTL."""
    return [one for one in packets if one.sighting.outgoing and one.sighting.node in lab.hosts]


@pytest.mark.requirement("WIRE-04")
class TestTtl:
    def test_inherited_is_the_inner_one(self, standing):
        """With `ttl inherit` the outer TTL of every host's multicast packet is its inner TTL."""
        lab = standing(ttl=None)

        heard = sent_to(lab, GROUP, [{"ttl": ttl} for ttl in INNER_TTLS])

        ttls = {(one.inner[layers.IP].ttl, one.ttl) for one in as_sent(lab, carried(heard.sightings()))}
        assert ttls == {(ttl, ttl) for ttl in INNER_TTLS}

    def test_inherited_of_broadcast_is_the_default(self, standing):
        """With `ttl inherit` the outer and the inner TTL of a broadcast are the sender's default TTL."""
        lab = standing(ttl=None)
        default = int(lab.spokes[0].node.sysctl(DEFAULT_TTL))

        heard = sent_to(lab, lab.everyone)

        assert {one.ttl for one in as_sent(lab, carried(heard.sightings()))} == {default}

    @pytest.mark.tunnel("gretap", "vxlan", "geneve")  # ip6gretap does not find it in raw frames
    def test_inherited_is_the_hop_limit_of_ipv6(self, standing, tag):
        """With `ttl inherit` an IPv6 packet with hop limit 1 is carried with an outer TTL of 1."""
        lab = standing(ttl=None)
        spoke = lab.spokes[0]
        own = bytes.fromhex(spoke.node.link(spoke.plan.device).mac.replace(":", ""))
        ipv6 = struct.pack("!IHBB16x16x", 6 << 28, len(tag), IPV6_NO_NEXT_HEADER, 1) + tag

        with lab.listen([lab.hub]) as heard:
            spoke.send_frame(spoke.plan.device, BROADCAST_MAC + own + struct.pack("!H", ETHERTYPE_IPV6) + ipv6)
            spoke.udp.send(to=lab.everyone)

        heard.exactly_once(at=["hub"])
        assert {one.ttl for one in as_sent(lab, carried(lab.frames([tag])))} == {1}

    @pytest.mark.tunnel("gretap", "vxlan", "geneve")
    @pytest.mark.parametrize(("default", "unused"), [(None, -2), (33, -3)], ids=["default", "default=33"])
    def test_of_what_has_none_is_the_senders_default(self, standing, default, unused):
        """With `ttl inherit` ARP, which has no TTL, is carried with net.ipv4.ip_default_ttl of the tunnel's end."""
        lab = standing(ttl=None)
        spoke = lab.spokes[0]
        expected = default or int(spoke.node.sysctl(DEFAULT_TTL))
        unused_address = str(spoke.plan.overlay.network[unused])  # one each: an address is resolved once a second

        with spoke.node.with_sysctl(DEFAULT_TTL, expected), lab.listen([lab.hub]) as heard:
            spoke.udp.send(to=unused_address)
            asked = spoke.udp.send(to=lab.everyone)

        assert heard.payloads["hub"] == [asked.payload]
        queries = [
            one
            for one in as_sent(lab, carried(lab.frames()))
            if layers.ARP in one.inner
            and one.inner[layers.ARP].pdst == unused_address
            and one.sighting.node == spoke.name
        ]
        assert {one.ttl for one in queries} == {expected}

    def test_fixed_is_the_tunnels_own(self, overlay, standing):
        """With `ttl N` the outer TTL is N, whatever the inner TTL and the sender."""
        own = overlay.topology.options.ttl
        lab = overlay if own else standing(ttl=FIXED)

        for sender in lab.senders:
            heard = sent_to(lab, GROUP, [{"ttl": ttl} for ttl in INNER_TTLS], sender)

            ttls = {(one.inner[layers.IP].ttl, one.ttl) for one in as_sent(lab, carried(heard.sightings()))}
            assert ttls == {(ttl, own or FIXED) for ttl in INNER_TTLS}, sender.name


@pytest.mark.requirement("WIRE-05")
@pytest.mark.parametrize("inherit", [False, True], ids=["default", "tos_inherit"])
def test_tos_is_copied_on_request_only(standing, inherit):
    """The outer TOS of a packet marked EF is the tunnel's, 0 by default; with `tos inherit` EF; the mark arrives."""
    lab = standing(tos_inherit=inherit)
    outer = EXPEDITED if inherit else lab.topology.options.tos

    for sender in lab.senders:
        heard = sent_to(lab, lab.everyone, [{"tos": EXPEDITED}], sender)

        assert {one.tos for one in carried(heard.sightings())} == {outer}, sender.name
        assert {heard.one(at=name).tos for name in heard.at} == {EXPEDITED}, sender.name


@pytest.mark.requirement("WIRE-06")
@pytest.mark.tunnel("gretap")
class TestDontFragment:
    @pytest.mark.parametrize(
        ("options", "outer"),
        [
            ({}, {False: True, True: True}),
            ({"pmtudisc": False}, {False: False, True: True}),
            ({"pmtudisc": False, "ignore_df": True}, {False: False, True: False}),
        ],
        ids=["default", "nopmtudisc", "nopmtudisc,ignore-df"],
    )
    def test_follows_the_tunnels_options(self, standing, options, outer):
        """Outer DF is set by default, copied from inside with nopmtudisc, and never set with ignore-df in addition."""
        lab = standing(**options)

        heard = sent_to(lab, lab.everyone, [{"dont_fragment": inner} for inner in outer])

        seen = carried(heard.sightings())
        found = {(bool(one.inner[layers.IP].flags.DF), bool(one.outer[layers.IP].flags.DF)) for one in seen}
        assert found == set(outer.items())

    @pytest.mark.disruptive
    def test_ignore_df_is_refused_with_pmtudisc(self, build_lab):
        """A tunnel with path MTU discovery cannot ignore DF: the kernel rejects the combination."""
        with pytest.raises(OSError, match="Invalid argument"):
            build_lab(pmtudisc=True, ignore_df=True)


@pytest.mark.requirement("WIRE-06")
@pytest.mark.tunnel("vxlan", "geneve")
@pytest.mark.parametrize(
    ("df", "outer"),
    [
        (UNSET, {False: False, True: False}),
        (SET, {False: True, True: True}),
        (INHERIT, {False: False, True: True}),
    ],
    ids=["default", "df_set", "df_inherit"],
)
def test_dont_fragment_of_tunnels_over_udp(standing, df, outer):
    """Outer DF of VXLAN and Geneve is unset by default, whatever it is inside; set or copied as `df` has it."""
    lab = standing(df=df)

    heard = sent_to(lab, lab.everyone, [{"dont_fragment": inner} for inner in outer])

    seen = carried(heard.sightings())
    found = {(bool(one.inner[layers.IP].flags.DF), bool(one.outer[layers.IP].flags.DF)) for one in seen}
    assert found == set(outer.items())
