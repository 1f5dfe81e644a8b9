"""
At the boundary: a datagram that fills the overlay's MTU is one packet, one octet more makes two fragments.

    payload 1434, inner IP 1462                                  outer IP 1500
    payload 1435, inner IP 1460 with MF and 23 behind it         outer IP 1498 and 61        (gretap on a NIC of 1500)
"""

import errno
from collections import Counter

import pytest

from fixtures.areas.underlay import configured
from fixtures.probes import carried, cloud_rules, decode, layers
from fixtures.requirements import not_applicable, not_run
from lab import groups
from lab.tunnels import KINDS

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
IP, UDP, TCP = 20, 8, 20  # octets of header
LARGE = (4000, 60000)  # octets
EIGHTS = 8  # what fragments are counted in (RFC 791)
ETHERNET_MTU = 1500


@pytest.mark.requirement("MTU-02")
def test_arrives_at_the_boundary_and_beyond(overlay, sender, largest, everyone, listen):
    """The largest datagram in one packet and the smallest one in two are received once by every other node."""
    others, fitting = overlay.others(sender), largest(sender)

    with listen(others) as heard:
        for size in (fitting, fitting + 1):
            sender.udp.send(to=everyone, size=size)

    heard.exactly_once(at=others)


def overhead(lab):
    """Octets that a tunnel puts in front of an inner packet."""
    options = lab.topology.options
    return KINDS[options.kind].overhead(options)


def same_datagram(packet):
    """The header fields that all fragments of a datagram share (RFC 791)."""
    return packet.id, packet.src, packet.dst


@pytest.mark.requirement("MTU-02")
@pytest.mark.usefixtures("frames_alone")
def test_fills_the_nics_packets(overlay, spoke, mtu, everyone, listen):
    """The largest unfragmented datagram is one outer packet to each peer; one octet more makes two, of fragments."""
    inside, taken = mtu(spoke), overhead(overlay)
    fitting = inside - IP - UDP
    first = IP + (inside - IP) // EIGHTS * EIGHTS
    second = IP + UDP + fitting + 1 - (first - IP)

    with listen(overlay.others(spoke)) as heard:
        whole, cut = (spoke.udp.send(to=everyone, size=fitting + more).payload for more in (0, 1))

    out = [seen for seen in overlay.frames() if (seen.node, seen.interface) == (spoke.name, spoke.plan.nic)]
    packets = [one for one in carried(seen for seen in out if seen.outgoing) if layers.IP in one.inner]
    sent = {}
    for payload in (whole, cut):
        whole_or_cut = {same_datagram(one.inner[layers.IP]) for one in packets if payload[:40] in one.sighting.frame}
        same = [one for one in packets if same_datagram(one.inner[layers.IP]) in whole_or_cut]
        sent[payload] = Counter((one.length, bool(one.inner[layers.IP].flags.MF)) for one in same)
    peers = len([hop for hop in overlay.topology.flooded(spoke.name) if hop.start.host == spoke.name])
    assert sent == {
        whole: {(inside + taken, False): peers},
        cut: {(first + taken, True): peers, (second + taken, False): peers},
    }
    assert heard.payloads == {name: [whole, cut] for name in overlay.others(spoke)}


@pytest.mark.requirement("MTU-03")
@pytest.mark.parametrize("to", ["unicast", "broadcast", "multicast"])
def test_a_sender_with_df_gets_an_error(overlay, sender, largest, everyone, listen, to):
    """With DF a datagram that fills the MTU arrives; one octet more is rejected with EMSGSIZE, also for broadcast."""
    receivers = overlay.others(sender)[:1] if to == "unicast" else overlay.others(sender)
    where = {"unicast": overlay[receivers[0]].address(), "broadcast": everyone, "multicast": GROUP}[to]

    fitting = largest(sender)

    with listen(receivers, group=GROUP if to == "multicast" else None) as heard:
        sender.udp.send(to=where, size=fitting, dont_fragment=True)
        with pytest.raises(OSError) as refused:
            sender.udp.send(to=where, size=fitting + 1, dont_fragment=True, wait=True)

    assert errno.errorcode[refused.value.errno] == "EMSGSIZE"
    heard.exactly_once(at=receivers)


@pytest.mark.requirement("MTU-03")
def test_ping_names_the_mtu(spoke1, hub, mtu, largest):
    """`ping -M do` with one octet too many reports the overlay's MTU."""
    said = spoke1.node.run("ping", "-c1", "-W", "0.1", "-M", "do", "-s", str(largest(spoke1) + 1), hub.address())
    if said["status"] is None:
        not_run("there is no ping", "apt-get install iputils-ping")

    assert f"mtu={mtu(spoke1)}" in said["output"] + said["errors"]


@pytest.mark.requirement("MTU-03")
def test_tcp_offers_what_fits(overlay, spoke, mtu, fresh_port):
    """Both ends of a connection offer segments of the overlay's MTU less 40 octets."""
    spoke.reaches_by_tcp(overlay.hub, port=fresh_port)

    ends = [bytes(map(int, host.address().split("."))) for host in (spoke, overlay.hub)]
    seen = [decode(one) for one in overlay.frames([ends[0] + ends[1], ends[1] + ends[0]]) if not one.carrier]
    segments = [packet[layers.TCP] for packet in seen if layers.TCP in packet]
    own = [segment for segment in segments if fresh_port in (segment.sport, segment.dport)]
    names = {True: overlay.hub.name, False: spoke.name}
    offered = {names[segment.sport == fresh_port]: dict(segment.options)["MSS"] for segment in own if segment.flags.S}
    assert offered == dict.fromkeys(names.values(), mtu(spoke) - IP - TCP)


@pytest.mark.requirement("MTU-04")
@pytest.mark.parametrize("to", ["broadcast", "multicast"])
def test_many_fragments_arrive_whole(overlay, sender, everyone, listen, to):
    """Datagrams of many fragments are received once, unaltered, by every other node."""
    others = overlay.others(sender)

    with listen(others, group=GROUP if to == "multicast" else None) as heard:
        for size in LARGE:
            sender.udp.send(to=GROUP if to == "multicast" else everyone, size=size)

    heard.exactly_once(at=others)


@pytest.mark.requirement("MTU-04")
@pytest.mark.disruptive
@pytest.mark.tunnel("gretap", "vxlan", "geneve")
def test_one_lost_fragment_loses_all(mutable_lab, spoke1, hub, everyone, listen, mtu, largest):
    """A datagram without its last fragment is not delivered; the receiver counts failed reassemblies."""
    fragments = 3
    inside = (mtu(spoke1) - IP) // EIGHTS * EIGHTS
    last = cloud_rules.fragment_rule(overhead(mutable_lab), last=(fragments - 1) * inside)
    names = ("IpReasmReqds", "IpReasmOKs")
    before = hub.node.counters()

    with mutable_lab.cloud.dropping(spoke1.name, last):
        with listen(mutable_lab.others(spoke1)) as heard:
            spoke1.udp.send(to=everyone, size=(fragments - 1) * inside + EIGHTS)
            whole = spoke1.udp.send(to=everyone, size=largest(spoke1)).payload

    after = hub.node.counters()
    assert heard.payloads == {name: [whole] for name in mutable_lab.others(spoke1)}
    assert [after[name] - before[name] for name in names] == [fragments - 1, 0]


@pytest.mark.requirement("MTU-09")
def test_no_leg_leaves_the_jumbo_frames(overlay, sender, mtu, largest, listen):
    """On NICs with a larger MTU than 1500 octets, a datagram with DF can fill every path."""
    nics = {name: seen.device(overlay[name].plan.nic).mtu for name, seen in configured(overlay).items()}
    if min(nics.values()) <= ETHERNET_MTU:
        not_applicable(f"there are no jumbo frames: {nics}")

    fitting = largest(sender)

    for name in overlay.others(sender):
        with listen([name]) as heard:
            sender.udp.send(to=overlay[name].address(), size=fitting, dont_fragment=True)
        heard.exactly_once(at=[name])
