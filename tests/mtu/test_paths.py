"""
The path MTU is smaller than the NICs': which hosts receive an ICMP error, and which never do.

    spoke1 ==tunnel== r1 ==1400==> hub                 spoke1 receives ICMP 3/4 (RFC 1191), and fragments to size
    spoke1 ==tunnel== r1 == hub == r1 ==1400==> spoke2 the hub does, but its bridge does not fragment: always lost
"""

import pytest

from fixtures.areas.sizes import narrow_path
from fixtures.probes import await_frames, cloud_rules, decode, firewall, layers

PATH = 1400  # octets that the narrow leg takes
HEADERS = {"gretap": 38, "vxlan": 50, "geneve": 50, "ip6gretap": 66}
IP_AND_UDP = 28
TRIES = 5
MOST_LOST = 2  # the first is refused on the way, the next at home; the third is cut to size
NO_ICMP = ("INPUT", "-p", "icmp", "--icmp-type", "fragmentation-needed", "-j", "DROP")
IP_PROTOCOL, ICMP_TYPE, NEXT_MTU = 23, 34, 40  # offsets in an Ethernet frame
ICMP, FRAGMENTATION_NEEDED = b"\x01", b"\x03\x04"
ANYTHING = b""

over_ipv4 = pytest.mark.tunnel("gretap", "vxlan", "geneve")  # routers cut no IPv6 (RFC 8200 section 5)


def fitting(lab):
    """The largest payload that fits the smaller path MTU."""
    return PATH - HEADERS[lab.topology.options.kind] - IP_AND_UDP


def heard_of(lab, sender, receiver, size, tries=TRIES, to=None, **more):
    """Which of some successive datagrams, each sent when the previous one has arrived or is lost, a receiver gets."""
    heard = []
    for _ in range(tries):
        with lab.listen([receiver]) as listening:
            sent = sender.udp.send(to=to or receiver.address(), size=size, **more)
        heard.append(listening.payloads[receiver.name] == [sent.payload])
    return heard


@pytest.mark.requirement("MTU-06")
def test_large_datagrams_reach_the_hub(overlay, spoke, largest):
    """Of full-size datagrams from a spoke to the hub at most the first two are lost."""
    heard = heard_of(overlay, spoke, overlay.hub, largest(spoke))

    assert heard[MOST_LOST:] == [True] * (TRIES - MOST_LOST)


@pytest.mark.requirement("MTU-07")
def test_full_size_frames_reach_all_alike(overlay, spoke, largest, everyone, listen):
    """A spoke's broadcast that fills the MTU reaches every other spoke as well as the hub."""
    others = overlay.others(spoke)

    with listen(others) as heard:
        spoke.udp.send(to=everyone, size=largest(spoke))

    heard.exactly_once(at=others)


@pytest.mark.requirement("MTU-06")
@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
@pytest.mark.usefixtures("one_way")
class TestTowardsTheHub:
    @pytest.fixture
    def narrow(self, build_lab):
        """A router on the path to the hub with a smaller MTU than the NICs'."""
        lab = build_lab(routers=1)
        narrow_path(lab, lab.hub, PATH)
        return lab

    def test_the_sender_gets_an_icmp_error_and_recovers(self, narrow, largest):
        """A router with a small MTU reports it by ICMP 3/4 and drops one or two large datagrams; later ones arrive."""
        spoke = narrow.spokes[0]

        fits = heard_of(narrow, spoke, narrow.hub, fitting(narrow), tries=1)
        larger = heard_of(narrow, spoke, narrow.hub, fitting(narrow) + 1)
        expected = [(IP_PROTOCOL, ICMP), (ICMP_TYPE, FRAGMENTATION_NEEDED), (NEXT_MTU, PATH.to_bytes(2, "big"))]

        assert fits == [True]
        assert larger == sorted(larger)
        assert 1 <= larger.count(False) <= MOST_LOST
        assert await_frames(spoke, spoke.plan.nic, expected, tag=ANYTHING, count=1, timeout=2)
        assert heard_of(narrow, spoke, narrow.hub, largest(spoke)) == [True] * TRIES

    def test_without_icmp_it_never_is(self, narrow, largest):
        """With ICMP 3/4 filtered at the sender every larger datagram is lost."""
        spoke = narrow.spokes[0]

        with firewall(spoke, NO_ICMP):
            assert heard_of(narrow, spoke, narrow.hub, largest(spoke)) == [False] * TRIES

    def test_a_smaller_mtu_fixes_it(self, narrow, set_mtu):
        """With the path's MTU, less the tunnel's headers, on all overlay devices the first large datagram arrives."""
        set_mtu(narrow, PATH - HEADERS["gretap"])

        assert heard_of(narrow, narrow.spokes[0], narrow.hub, 2 * PATH) == [True] * TRIES


@pytest.mark.requirement("MTU-07")
@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
@pytest.mark.usefixtures("one_way")
class TestTowardsASpoke:
    @pytest.fixture
    def narrow(self, build_lab):
        """A router on the path from the hub to the last spoke with a smaller MTU than the NICs'."""
        lab = build_lab(routers=1)
        narrow_path(lab, lab.spokes[-1], PATH)
        return lab

    def test_what_the_hub_bridges_is_lost_for_good(self, narrow, largest):
        """Large datagrams of a spoke reach the hub, but not a spoke behind a small path MTU, without an error."""
        sender, receiver = narrow.spokes[0], narrow.spokes[-1]
        port = narrow.topology.port("hub", receiver.name)
        before = narrow.hub.node.counters(), narrow.hub.node.statistics(port), sender.node.counters()

        fits = heard_of(narrow, sender, receiver, fitting(narrow), tries=1)
        larger = heard_of(narrow, sender, receiver, fitting(narrow) + 1, dont_fragment=False)
        with_df = heard_of(narrow, sender, receiver, largest(sender))
        at_the_hub = heard_of(narrow, sender, narrow.hub, largest(sender), to=narrow.everyone)

        after = narrow.hub.node.counters(), narrow.hub.node.statistics(port), sender.node.counters()
        trouble = [after[1][name] - before[1][name] for name in ("tx_errors", "tx_dropped", "tx_carrier_errors")]
        assert (fits, larger, with_df, at_the_hub) == ([True], [False] * TRIES, [False] * TRIES, [True] * TRIES)
        assert after[0]["IpFragFails"] > before[0]["IpFragFails"]
        assert sum(trouble) >= 2 * TRIES - MOST_LOST
        assert after[2]["IcmpInDestUnreachs"] == before[2]["IcmpInDestUnreachs"]

    def test_the_hubs_own_recover(self, narrow, largest):
        """The hub's first one or two large datagrams to a spoke behind a small path MTU are lost, later ones not."""
        heard = heard_of(narrow, narrow.hub, narrow.spokes[-1], largest(narrow.hub))

        assert heard == sorted(heard)
        assert 1 <= heard.count(False) <= MOST_LOST

    def test_a_smaller_mtu_fixes_it(self, narrow, set_mtu):
        """With the path MTU, less the tunnel's headers, on all overlay devices all spokes reach each other."""
        set_mtu(narrow, PATH - HEADERS["gretap"])

        assert heard_of(narrow, narrow.spokes[0], narrow.spokes[-1], 2 * PATH) == [True] * TRIES


@pytest.mark.requirement("MTU-08")
@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
class TestOuterFragments:
    @pytest.fixture
    def fragmenting(self, build_lab):
        """Tunnels without DF, and a router that fragments their packets on the path to the last spoke."""
        lab = build_lab(routers=1, ttl=None, pmtudisc=False, ignore_df=True)
        narrow_path(lab, lab.spokes[-1], PATH)
        return lab

    @over_ipv4
    def test_carry_what_is_larger_than_the_path(self, fragmenting, largest):
        """A spoke's full-size datagrams reach the other one, with DF or without, in fragments of the outer packet."""
        sender, receiver = fragmenting.spokes[0], fragmenting.spokes[-1]

        with fragmenting.listen([receiver]) as heard:
            for must_not in (False, True):
                sender.udp.send(to=receiver.address(), size=largest(sender), dont_fragment=must_not)

        heard.exactly_once(at=[receiver.name])
        came = [one for one in heard.sightings() if (one.node, one.interface) == (receiver.name, receiver.plan.nic)]
        packets = [decode(one)[layers.IP] for one in came if not one.outgoing]
        assert [bool(packet.flags.MF) for packet in packets] == [True, True]
        assert all(packet.len <= PATH for packet in packets)

    @over_ipv4
    def test_must_pass_the_underlay(self, fragmenting, largest):
        """Where the underlay drops fragments, datagrams above the path MTU are lost, and smaller ones arrive."""
        sender, receiver = fragmenting.spokes[0], fragmenting.spokes[-1]

        with fragmenting.cloud.losing(receiver.name, cloud_rules.fragment_rule()):
            sizes = (fitting(fragmenting), fitting(fragmenting) + 1, largest(sender))
            heard = [heard_of(fragmenting, sender, receiver, size, tries=1) for size in sizes]

        assert heard == [[True], [False], [False]]

    @pytest.mark.tunnel("gretap")
    @pytest.mark.usefixtures("hub")  # without one, the sender receives the path MTU
    def test_with_nopmtudisc_alone_df_is_taken_over(self, build_lab, largest):
        """Without `ignore-df` the outer packet copies the inner DF: datagrams with DF are lost, others are not."""
        lab = build_lab(routers=1, ttl=None, pmtudisc=False)
        sender, receiver = lab.spokes[0], lab.spokes[-1]
        narrow_path(lab, receiver, PATH)

        heard = {
            must_not: heard_of(lab, sender, receiver, largest(sender), tries=2, dont_fragment=must_not)
            for must_not in (False, True)
        }

        assert heard == {False: [True, True], True: [False, False]}
