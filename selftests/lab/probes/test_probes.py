"""
The probes: missing, duplicate, altered and unexpected copies are distinguished, and a fence proves silence.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2
"""

import pytest

from lab.errors import CheckFailed
from lab.probes.capture.paths import ways
from lab.probes.capture.sightings import Sighting, path
from lab.probes.datagrams import Datagram, Sent
from lab.probes.listening import Listening
from lab.probes.payloads import TAG_SIZE, unique
from lab.probes.ping import echo
from lab.stack.changes import addr_del, link_set, route_del
from lab.topology import topologies


def judged(payloads, sent=(b"hello",)):
    """A listening at one node that heard what is given."""
    listening = Listening({}, topologies.star(), ["spoke2"], tapped=[])
    listening.sent.append(Sent("spoke1", tuple(sent), "172.16.254.255", 5005, ("172.16.254.2", 40000)))
    listening.datagrams = {"spoke2": tuple(Datagram(payload) for payload in payloads)}
    return listening


@pytest.mark.parametrize(
    ("heard", "complaint"),
    [
        ([], "missing"),
        ([b"hello", b"hello"], "duplicated"),
        ([b"hellp"], "altered"),
        ([b"hello", b"stranger"], "unexpected"),
    ],
    ids=["missing", "duplicated", "altered", "unexpected"],
)
def test_exactly_once_has_four_ways_to_fail(heard, complaint):
    """Missing, duplicated, altered and unexpected copies are distinguished."""
    with pytest.raises(CheckFailed, match=complaint):
        judged(heard).exactly_once(at=["spoke2"])


def test_one_unaltered_copy_passes():
    """Exactly one copy of a sent payload is correct."""
    judged([b"hello"]).exactly_once(at=["spoke2"])


def test_no_refusal_is_reported_after_a_delivery():
    """A copy where no delivery is expected is unexpected."""
    with pytest.raises(CheckFailed, match="unexpected"):
        judged([b"hello"]).nothing(at=["spoke2"])


def test_a_check_without_a_stimulus_fails():
    """Silence after nothing was sent proves nothing."""
    listening = judged([])
    listening.sent.clear()

    with pytest.raises(CheckFailed, match="nothing was sent"):
        listening.nothing(at=["spoke2"])


@pytest.mark.parametrize("size", [None, 1, 16, 17, 9000], ids=lambda size: f"size={size}")
def test_payloads_are_unique_and_have_the_requested_length(size):
    """No payload is given out twice, and none is shorter than its tag."""
    payloads = {unique(size) for _ in range(50)}

    assert len(payloads) == 50
    assert {len(payload) for payload in payloads} == {32 if size is None else max(size, TAG_SIZE)}


def test_the_checksum_of_a_whole_echo_request_is_zero():
    """RFC 1071: the sum over a message that holds its own checksum vanishes, for odd lengths too."""
    assert echo.checksum(echo.request(7, 1, b"odd")) == 0


def test_a_path_names_each_place_once_in_order():
    """Sightings of one probe make one line, in order of time, with what wraps the frame."""
    bare = bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(8) + bytes([17]) + bytes(20)
    gre = bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(8) + bytes([47]) + bytes(20)
    seen = [
        Sighting("spoke1", "gretap1", True, 1, bare),
        Sighting("spoke1", "ens3", True, 2, gre),
        Sighting("spoke1", "ens3", True, 3, gre),
        Sighting("hub", "ens3", False, 4, gre),
    ]

    assert path(seen) == "spoke1 gretap1 out → spoke1 ens3 out [GRE] → hub ens3 in [GRE]"


def test_a_broadcast_reaches_all_others_and_is_seen_on_every_leg(lab):
    """The sightings of a delivered broadcast lead from the sender's tunnel to the receiver's."""
    sender, others = lab["spoke1"], lab.others("spoke1")

    with lab.listen(others) as heard:
        sender.udp.send(to=lab.everyone)

    heard.exactly_once(at=others)
    places = [str(sighting).split(" [")[0] for sighting in heard.sightings()]
    devices = [lab.plans[name].device for name in ("spoke1", "spoke2")]
    own = "hub bridge0 in"  # the hub's own copy, which is under way at the same time as the one for spoke2
    onward = [place for place in places if place != own]
    assert onward[0] == f"spoke1 {devices[0]} out"
    assert onward[-1] == f"spoke2 {devices[1]} in"
    assert own in places


def test_silence_is_proved_by_a_fence_that_came_through(lab):
    """Where no node is expected to receive, the fence arrives and proves it without waiting."""
    others = lab.others("spoke1")

    with lab.listen(others, network="underlay") as heard:
        lab["spoke1"].udp.send(to=lab.plans["spoke1"].broadcast("underlay"))

    heard.nothing(at=others)
    assert heard.unproved == frozenset()


def test_silence_without_a_fence_is_reported_as_unproved(lab):
    """Where unicast cannot pass either, the node is listed as unproved, and the failure message names it."""
    port = lab.topology.port("hub", "spoke2")
    with lab.hub.node.changed(link_set(port, nomaster=True), link_set(port, master="bridge0")):
        with lab.listen(["spoke2"]) as heard:
            lab["spoke1"].udp.send(to=lab.everyone)

    assert heard.unproved == {"spoke2"}
    with pytest.raises(CheckFailed, match=r"unicast on the same path did not arrive .* either: spoke1 to spoke2"):
        heard.exactly_once(at=["spoke2"])


def test_a_failed_delivery_names_where_it_was_seen_last(lab):
    """The message of a lost broadcast contains the path up to the place of the loss."""
    port = lab.topology.port("hub", "spoke2")
    with lab.hub.node.changed(link_set(port, nomaster=True), link_set(port, master="bridge0")):
        with lab.listen(["spoke2"]) as heard:
            lab["spoke1"].udp.send(to=lab.everyone)

    with pytest.raises(CheckFailed) as failed:
        heard.exactly_once(at=["spoke2"])
    first, *_, path = [line for line in str(failed.value).splitlines() if port in line]
    assert first == f"spoke2 did not receive spoke1's broadcast: lost at hub {port}"
    assert path.endswith(f"never at {port}")
    (path,) = failed.value.paths
    assert [(leg["node"], leg["interface"]) for leg in path["legs"] if leg["seen"]][-1] == (
        "hub",
        lab.topology.port("hub", "spoke1"),
    )
    assert all(leg["after"] >= 0 for leg in path["legs"][1:] if leg["seen"])


def test_the_path_of_what_arrived_ends_at_the_socket(lab):
    """Every place of the way is on the path in its order, with the time that each leg took."""
    with lab.listen(["hub", "spoke2"]) as heard:
        lab["spoke1"].udp.send(to=lab.everyone)

    paths = {path.receiver: path for path in heard.paths()}
    planned = [(place.node, place.interface) for place in ways(lab.topology, "spoke1", "spoke2")[0]]
    walked = [(leg.node, leg.interface) for leg in paths["spoke2"].legs if leg.node in lab.hosts]
    assert walked == planned
    every = [(leg.node, leg.interface, leg.direction) for leg in paths["spoke2"].legs]
    assert len(every) == len(set(every))
    assert [(path.heard, path.expected) for path in paths.values()] == [(1, None), (1, None)]
    with pytest.raises(CheckFailed) as failed:
        heard.copies({"hub": 2, "spoke2": 1})
    assert {(path["heard"], path["expected"]) for path in failed.value.paths} == {(1, 2), (1, 1)}


def test_the_pingers_own_answer_is_kept_apart(lab):
    """Every host answers a broadcast ping once; only the answers of others prove anything."""
    answers = lab["spoke1"].ping(lab.everyone)

    answers.exactly_once_by(lab.hosts)
    assert answers.others == {"hub": 1, "spoke2": 1}


def test_a_ping_that_only_the_pinger_answers_is_no_success(lab):
    """What ping(8) calls 0 % loss is a failed check here."""
    with lab.hub.node.with_sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 1):
        with lab["spoke2"].node.with_sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 1):
            answers = lab["spoke1"].ping(lab.everyone)

    assert answers.counts == {"spoke1": 1}
    with pytest.raises(CheckFailed, match="only the pinger answered itself"):
        answers.exactly_once_by(lab.hosts)


@pytest.mark.parametrize("network", ["overlay", "underlay"])
def test_tcp_reaches_every_host(lab, network):
    """A connection from each host to each other host carries a payload."""
    for client in lab.hosts.values():
        for server in lab.hosts.values():
            if client is not server:
                assert client.reaches_by_tcp(server, network)


def test_routers_take_one_from_the_ttl(make_lab):
    """Two routers between hub and spokes take two from the TTL of what crosses them."""
    lab = make_lab(routers=2)

    with lab.listen(["hub"], network="underlay") as heard:
        lab["spoke1"].udp.send(to=lab.hub.address("underlay"), ttl=9)

    assert heard.one("hub").ttl == 7


def test_many_ways_are_fenced_leg_by_leg(make_lab):
    """With twelve hosts sending to each other, a fence for each leg proves exactly one spoke's losses."""
    lab = make_lab(spokes=11)
    silent = lab.spokes[4]
    lab.hub.node.apply(link_set(lab.topology.port("hub", silent.name), up=False))

    with lab.listen(lab.hosts) as heard:
        for host in lab.hosts.values():
            host.udp.send(to=lab.everyone, lost_if_refused=True)

    others = set(lab.hosts) - {silent.name}
    assert set(heard.lost()) == {pair for name in others for pair in ((silent.name, name), (name, silent.name))}
    assert heard.unproved == {lab.hub.name, silent.name}


def test_a_refused_datagram_is_missing_and_named(lab):
    """A datagram that the sender's own kernel rejects is missing everywhere, and the message names the sender."""
    spoke = lab["spoke1"]
    spoke.node.apply(
        route_del("0.0.0.0/0", spoke.plan.nic),
        addr_del(spoke.plan.device, str(spoke.plan.overlay)),
    )

    with lab.listen(["hub"]) as heard:
        lab["spoke2"].udp.send(to=lab.everyone, lost_if_refused=True)
        spoke.udp.send(to=lab.everyone, lost_if_refused=True)

    with pytest.raises(CheckFailed, match="the kernel of spoke1 refused: Network is unreachable") as failed:
        heard.exactly_once(at=["hub"])
    assert "hub: missing: received 0 of 1 copies" in str(failed.value)
    assert "from spoke1" in str(failed.value)
    assert heard.lost() == [("spoke1", "hub")]
