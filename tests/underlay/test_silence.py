"""
The cloud's network delivers only unicast: broadcast and multicast from a NIC reach no other NIC.

    spoke1 ens3 --- broadcast, multicast --->| VCN |     hub ens3, spoke2 ens3: nothing
    spoke1 ens3 --- unicast ---------------->| VCN |---> hub ens3, spoke2 ens3

Were it otherwise, every broadcast that the overlay delivers could have come by the underlay.  Each absence stands
beside a unicast datagram that was sent after it on the same way and arrived.
"""

import pytest

from fixtures.areas.underlay import at_nics
from lab import groups
from lab.model import ALL_HOSTS, LIMITED_BROADCAST
from lab.stack.changes import bridge, link_set

JOINED = groups.fresh()
GROUPS = {
    "a joined group": JOINED,
    "a joined link-local group": "224.0.0.251",  # mDNS, RFC 6762
    "another range": groups.fresh(groups.SCOPED),
}


@pytest.fixture
def unicast_control(overlay):
    """Sends each receiver one datagram of its own on the underlay and returns the expected deliveries."""

    def send(sender, receivers):
        return {name: [sender.udp.send(to=overlay[name].address("underlay")).payload] for name in receivers}

    return send


@pytest.fixture(params=["directed", "limited"])
def broadcast(request, sender):
    """Either spelling of "everyone in this subnet" (RFC 919)."""
    return sender.plan.broadcast("underlay") if request.param == "directed" else LIMITED_BROADCAST


@pytest.mark.requirement("UNDER-01", "UNDER-03")
def test_broadcast_reaches_no_other_nic(overlay, sender, broadcast, listen, unicast_control):
    """A broadcast on the underlay leaves its sender and reaches no NIC and no socket, while unicast does."""
    others = overlay.others(sender)

    with listen(others, network="underlay") as heard:
        sent = sender.udp.send(to=broadcast, device=sender.plan.nic)
        controls = unicast_control(sender, others)

    assert heard.payloads == controls
    assert at_nics(overlay, sent.payload) == {(sender.name, "out")}


@pytest.mark.requirement("UNDER-02", "UNDER-03")
@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS.keys())
def test_multicast_reaches_no_member(overlay, sender, group, listen, unicast_control):
    """Members of a group on every other host's NIC receive none of its datagrams there, while unicast arrives."""
    others = overlay.others(sender)

    with listen(others, network="underlay", group=group, bind="") as heard:
        sent = sender.udp.send(to=group, multicast_interface=sender.address("underlay"), ttl=8)
        controls = unicast_control(sender, others)

    assert heard.payloads == controls
    assert at_nics(overlay, sent.payload) == {(sender.name, "out")}


@pytest.mark.requirement("UNDER-01", "UNDER-03")
def test_only_the_sender_answers_a_broadcast_ping(sender, underlay_control):
    """
    A broadcast ping on the underlay is answered by the pinger alone, which proves nothing, though all answer unicast.

    ping(8) reports this as 0 % loss.
    """
    answers = sender.ping(sender.plan.broadcast("underlay"), network="underlay")

    underlay_control((f"{sender} to {name}" for name in answers.unproved), "ICMP")
    assert answers.others == {}
    assert answers.unproved == set(), "unicast echo is not answered either: the silence proves nothing"


@pytest.mark.requirement("UNDER-02", "UNDER-03")
def test_no_host_answers_a_ping_to_all_hosts(sender, underlay_control):
    """A ping to 224.0.0.1 out of the NIC is answered by no other host, though all answer unicast."""
    answers = sender.ping(ALL_HOSTS, network="underlay", device=sender.plan.nic, ttl=1)

    underlay_control((f"{sender} to {name}" for name in answers.unproved), "ICMP")
    assert answers.others == {}
    assert answers.unproved == set(), "unicast echo is not answered either: the silence proves nothing"


@pytest.mark.disruptive
@pytest.mark.requirement("UNDER-02")
def test_snooping_and_a_querier_let_no_multicast_through(mutable_lab, spoke1, listen, unicast_control):
    """An emulated cloud that snoops IGMP and sends queries still forwards no multicast to members."""
    change, undo = (link_set("vcn", bridge(mcast_snooping=on, mcast_querier=on)) for on in (1, 0))
    others = mutable_lab.others(spoke1)

    with mutable_lab.fabric.changed(change, undo):
        with listen(others, network="underlay", group=JOINED, bind="") as heard:
            sent = spoke1.udp.send(to=JOINED, multicast_interface=spoke1.address("underlay"), ttl=8)
            controls = unicast_control(spoke1, others)

    assert heard.payloads == controls
    assert at_nics(mutable_lab, sent.payload) == {("spoke1", "out")}


@pytest.mark.disruptive
@pytest.mark.requirement("UNDER-01", "UNDER-02", "UNDER-03")
def test_a_plain_switch_would_be_noticed(mutable_lab, spoke1, listen):
    """On a plain switch in the cloud's place, broadcast and multicast arrive, and the other hosts answer the ping."""
    others = mutable_lab.others(spoke1)
    everyone, group = spoke1.plan.broadcast("underlay"), GROUPS["a joined group"]

    with mutable_lab.cloud.as_plain_switch():
        with listen(others, network="underlay", group=group, bind="") as heard:
            spoke1.udp.send(to=everyone)
            spoke1.udp.send(to=group, multicast_interface=spoke1.address("underlay"))
        answers = spoke1.ping(everyone, network="underlay")

    heard.exactly_once(at=others)
    assert answers.others == dict.fromkeys(others, 1)
