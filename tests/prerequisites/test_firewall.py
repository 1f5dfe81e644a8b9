"""
Every node's firewall accepts the tunnels, and what comes out of them.

    ens3 --- [ INPUT: the carrier from the peers ] --- gretapN, bridge0 --- [ INPUT: what was inside ] --- sockets

A packet meets INPUT twice: as GRE on the NIC, and again, taken out, on the overlay's device.
"""

import secrets
import socket

import pytest

from fixtures.probes import destinations, firewall, firewall_hits, layers
from lab import groups
from lab.model import ALL_HOSTS, MULTICAST

CARRIERS = {
    "gretap": ("-p", "gre"),
    "vxlan": ("-p", "udp", "--dport", "4789"),
    "geneve": ("-p", "udp", "--dport", "6081"),
}
GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
EXPERIMENTAL = 0xF0  # a type of IGMP
RAW_IGMP = {"family": int(socket.AF_INET), "type": int(socket.SOCK_RAW), "protocol": int(socket.IPPROTO_IGMP)}
ALL_KINDS = {"unicast", "broadcast", "multicast", "ping"}
NATIVE_KINDS = {"unicast", "multicast"}  # of a cloud that delivers groups alone


@pytest.fixture
def carrier(overlay):
    """How iptables names the packets that carry this overlay; over IPv6 they are ip6tables' business."""
    return CARRIERS[overlay.topology.options.kind]


def kinds_heard(lab, sender, receiver):
    """Which of unicast, broadcast, multicast and broadcast ping get from one host to another."""
    with lab.listen([receiver], group=GROUP, bind="") as heard:
        kinds = zip(("multicast", "broadcast"), reversed(destinations(lab, GROUP)), strict=False)
        to = {"unicast": receiver.address(), **dict(kinds)}
        sent = {kind: sender.udp.send(to=address) for kind, address in to.items()}
    arrived = {kind for kind, stimulus in sent.items() if stimulus.payload in heard.payloads[receiver.name]}
    if lab.topology.native:
        return arrived
    answers = sender.ping(lab.everyone)
    return arrived | ({"ping"} if answers.counts.get(receiver.name) else set())


@pytest.mark.requirement("PRE-03")
def test_every_tunnel_receives_what_its_nic_does(overlay, sender, everyone, listen):
    """Tunnel packets that arrive at a host's NIC are decapsulated: no firewall drops them in between."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sender.udp.send(to=everyone)

    arrived = [seen for seen in heard.sightings() if not seen.outgoing and seen.node in others]
    on_nic = {seen.node for seen in arrived if seen.carrier}
    tunnels = {hop.end for hop in overlay.topology.flooded(sender.name) if hop.end.host != sender.name}
    taken_out = {(seen.node, seen.interface) for seen in arrived} & {(end.host, end.device) for end in tunnels}
    assert on_nic == set(others)
    assert taken_out == {(end.host, end.device) for end in tunnels}


@pytest.mark.requirement("PRE-04")
def test_every_host_accepts_what_comes_out(overlay, receiver):
    """Unicast, broadcast, multicast and the answer to a broadcast ping all get through each host's firewall."""
    sender = overlay[overlay.others(receiver)[0]]

    assert kinds_heard(overlay, sender, receiver) == (NATIVE_KINDS if overlay.topology.native else ALL_KINDS)


@pytest.mark.requirement("PRE-04")
def test_every_host_accepts_igmp(overlay, receiver):
    """Each host's firewall accepts IGMP to all hosts, and so a querier's queries."""
    sender = overlay[overlay.others(receiver)[0]]
    # of an experimental type (RFC 3228), so that no host answers and no bridge takes the sender for a querier
    message = bytes(layers.IGMP(type=EXPERIMENTAL) / secrets.token_bytes(16))
    header = layers.IP(src=sender.address(), dst=ALL_HOSTS, ttl=1, proto=int(socket.IPPROTO_IGMP))

    with receiver.open_socket(**RAW_IGMP) as raw:
        with overlay.listen([receiver]) as heard:
            sender.send_packet(bytes(header / message), ALL_HOSTS)
            sender.udp.send(to=overlay.everyone)
        taken = raw.received()

    heard.exactly_once(at=[receiver.name])
    assert len([one for one in taken if message in one["payload"]]) == 1


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-03")
@pytest.mark.parametrize("closed", ["hub", "spoke2"], ids=["hub", "spoke"])
@pytest.mark.tunnel("gretap", "vxlan", "geneve")
@pytest.mark.usefixtures("one_way")
def test_a_host_that_drops_the_carrier_cuts_its_tunnels(mutable_lab, spoke1, everyone, carrier, closed, listen):
    """A host whose INPUT drops tunnel packets receives nothing, nor do hosts behind it; unicast between NICs works."""
    others, at = mutable_lab.others(spoke1), mutable_lab[closed]
    deaf = others if at.is_hub else [closed]

    with firewall(at, ("INPUT", *carrier, "-j", "DROP")):
        with listen(others) as heard:
            sent = spoke1.udp.send(to=everyone)
        hits = firewall_hits(at)
        underlay = spoke1.ping(at.address("underlay"), network="underlay")

    assert heard.payloads == {name: [] if name in deaf else [sent.payload] for name in others}
    assert hits[0] > 0
    assert underlay.others == {closed: 1}
    assert (closed, at.plan.nic) in {(seen.node, seen.interface) for seen in heard.sightings()}


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-04")
@pytest.mark.tunnel("gretap", "vxlan", "geneve")
def test_a_hub_that_accepts_the_carrier_alone_is_deaf_itself(
    mutable_lab, spoke1, spoke2, hub, everyone, carrier, listen
):
    """A hub that accepts only tunnel packets forwards between the spokes and receives nothing itself."""
    with firewall(hub, ("INPUT", *carrier, "-j", "ACCEPT"), policy={"INPUT": "DROP"}):
        with listen([hub, spoke2]) as heard:
            sent = spoke1.udp.send(to=everyone)

    assert heard.payloads == {"hub": [], "spoke2": [sent.payload]}


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-04")
@pytest.mark.parametrize(
    ("rules", "policy", "left"),
    [
        pytest.param(
            [("-m", "pkttype", "--pkt-type", "broadcast", "-j", "DROP")],
            {},
            {"unicast", "multicast"},
            id="no-broadcast",
        ),
        pytest.param([("-d", str(MULTICAST), "-j", "DROP")], {}, {"unicast", "broadcast", "ping"}, id="no-multicast"),
        pytest.param(
            [("carrier", "-j", "ACCEPT"), ("-p", "icmp", "-j", "ACCEPT")],
            {"INPUT": "DROP"},
            {"ping"},
            id="carrier-and-icmp-only",
        ),
    ],
)
@pytest.mark.tunnel("gretap", "vxlan", "geneve")
def test_a_rule_on_the_inside_stops_what_it_names(mutable_lab, spoke1, spoke2, carrier, rules, policy, left):
    """A spoke's firewall rules for packets from the tunnel drop only the kinds that they match."""
    written = [("INPUT", *carrier, *rule[1:]) if rule[0] == "carrier" else ("INPUT", *rule) for rule in rules]

    with firewall(spoke2, *written, policy=policy):
        assert kinds_heard(mutable_lab, spoke1, spoke2) == left


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-04")
def test_a_rule_against_igmp_hides_a_member(build_lab):
    """Only members whose firewalls accept IGMP receive a query and will answer it."""
    lab = build_lab()
    hub, closed, others = lab.hub, lab.spokes[-1], lab.spokes[:-1]
    query = layers.IP(src=hub.address(), dst=ALL_HOSTS, ttl=1) / layers.IGMP(type=0x11, mrcode=100)

    with lab.listen(lab.spokes, group=GROUP, bind=""):
        with firewall(closed, ("INPUT", "-p", "igmp", "-j", "DROP")):
            hub.send_packet(bytes(query), ALL_HOSTS)
            hub.ping(lab.everyone)
            answering = {spoke.name for spoke in lab.spokes if reports_pending(spoke)}

    assert answering == {spoke.name for spoke in others}


def reports_pending(host):
    """Whether a timer runs for the answer to an IGMP query: `1:` before its time in /proc/net/igmp."""
    groups = [line.split() for line in host.node.read_net("igmp").splitlines() if line.startswith("\t")]
    return any(timer.startswith("1:") for _, _, timer, *_ in groups)
