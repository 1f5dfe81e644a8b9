"""
Broadcast ping: one request, one answer from each node, the pinger included; only the others' answers prove anything.

    spoke1: who is there? --tunnel1--( hub: bridge0 )--tunnel2--> spoke2: I am
"""

import pytest

from fixtures.probes import firewall
from lab.stack.changes import link_set

BROADCAST_PING = "net.ipv4.icmp_echo_ignore_broadcasts"

pytestmark = pytest.mark.requirement("ICMP-01")


def test_every_node_answers_once_from_its_own_address(overlay, sender, everyone):
    """One request to the directed broadcast address is answered once by each node, under its own overlay address."""
    answers = sender.ping(everyone)

    answers.exactly_once_by([sender.name, *overlay.others(sender)])


@pytest.mark.requirement("ICMP-03")
def test_others_are_counted_without_the_pinger(overlay, sender, everyone):
    """Every other host answers once, which proves the overlay; the pinger's own answer does not count."""
    answers = sender.ping(everyone)

    assert answers.others == dict.fromkeys(overlay.others(sender), 1)


@pytest.mark.parametrize("spokes", [1, 7], ids=lambda spokes: f"nodes={spokes + 1}")
def test_as_many_answers_as_nodes(build_lab, spokes):
    """With any number of spokes each node answers a broadcast ping once, from the hub and from the last spoke."""
    lab = build_lab(spokes=spokes)
    first, *_, last = lab.hosts.values()

    from_first, from_last = first.ping(lab.everyone), last.ping(lab.everyone)

    from_first.exactly_once_by(lab.hosts)
    from_last.exactly_once_by(lab.hosts)


@pytest.mark.disruptive
def test_exactly_the_node_that_ignores_broadcasts_is_silent(mutable_lab, receiver, everyone, listen):
    """With icmp_echo_ignore_broadcasts=1 on one node exactly its answer is missing; UDP still reaches it."""
    pinger = mutable_lab[mutable_lab.others(receiver)[-1]]
    answering = [name for name in mutable_lab.hosts if name != receiver.name]

    with receiver.node.with_sysctl(BROADCAST_PING, 1):
        answers = pinger.ping(everyone)
        with listen([receiver]) as heard:
            pinger.udp.send(to=everyone)

    answers.exactly_once_by(answering)
    heard.exactly_once(at=[receiver.name])


@pytest.mark.disruptive
def test_pinger_that_ignores_broadcasts_misses_itself_only(mutable_lab, sender, everyone):
    """With icmp_echo_ignore_broadcasts=1 on the pinger the other nodes still answer."""
    with sender.node.with_sysctl(BROADCAST_PING, 1):
        answers = sender.ping(everyone)

    answers.exactly_once_by(mutable_lab.others(sender))


@pytest.mark.disruptive
@pytest.mark.requirement("ICMP-03")
@pytest.mark.usefixtures("only_hub")
def test_without_the_hub_only_the_pinger_answers(build_lab):
    """With the hub disconnected a spoke's request is answered only by the spoke itself, which proves nothing."""
    lab = build_lab()
    pinger = lab["spoke1"]
    lab.hub.node.apply(link_set(lab.hub.plan.nic, up=False))

    answers = pinger.ping(lab.everyone)

    assert (answers.counts, answers.others) == ({pinger.name: 1}, {})


@pytest.mark.disruptive
@pytest.mark.requirement("ICMP-06")
def test_stateful_firewall_of_the_pinger_loses_the_answers(mutable_lab, spoke1, everyone, listen):
    """A pinger that accepts only established traffic gets no answer to a broadcast, while UDP and unicast pass."""
    others = mutable_lab.others(spoke1)
    inner = ("INPUT", "!", "-i", spoke1.plan.nic)

    with firewall(spoke1, (*inner, "-m", "conntrack", "!", "--ctstate", "ESTABLISHED", "-j", "DROP")):
        to_all, to_one = spoke1.ping(everyone), spoke1.ping(mutable_lab.hub.address())
        with listen(others) as heard:
            spoke1.udp.send(to=everyone)

    assert to_all.counts == {}
    to_one.exactly_once_by([mutable_lab.hub.name])
    heard.exactly_once(at=others)
