"""
A receiver that never sends must still receive: unsolicited GRE is accepted, not merely ESTABLISHED.

    hub --- GRE ---> spoke2 [ INPUT: GRE in state ESTABLISHED only ]

Such a rule works right after the receiver has talked, and dies when its connection tracking entry has run out (180 s).
"""

import pytest

from fixtures.probes import firewall

pytestmark = pytest.mark.requirement("PRE-05")

STATEFUL_ONLY = (
    ("INPUT", "-p", "gre", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"),
    ("INPUT", "-p", "gre", "-j", "DROP"),
)
TIMEOUTS = ("net.netfilter.nf_conntrack_gre_timeout", "net.netfilter.nf_conntrack_gre_timeout_stream")


def test_a_host_that_never_sent_receives_broadcast(build_lab):
    """The first tunnel packet of all, a broadcast from a spoke, reaches hosts that have not sent one yet."""
    lab = build_lab(bridge={"mcast_snooping": 0})  # a bridge that snoops joins 224.0.0.106 by itself
    sender = lab.spokes[0]

    with lab.listen(lab.others(sender)) as heard:
        sent = sender.udp.send(to=lab.everyone)

    heard.exactly_once(at=lab.others(sender))
    if lab.topology.restless or lab.topology.doubled:
        return  # bonds and PRP devices send by themselves, at any time
    arrival = {seen.node: seen.time for seen in lab.frames([sent.payload]) if not seen.outgoing}
    # of tunnel packets only: the kernel itself sends MLD reports on a NIC with IPv6, which open no way for others
    tunnelled = [seen for seen in lab.frames() if seen.carrier and seen.outgoing]
    for name in [spoke.name for spoke in lab.spokes if spoke is not sender]:
        earlier = [str(seen) for seen in tunnelled if seen.node == name and seen.time < arrival[name]]
        assert earlier == [], f"{name} sent a tunnel packet before it received the broadcast"


@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
@pytest.mark.usefixtures("one_way")
def test_behind_a_stateful_rule_a_host_receives_only_after_it_has_sent(build_lab):
    """Behind a rule that accepts only ESTABLISHED, an idle spoke receives nothing; after it has sent, it does."""
    lab = build_lab()
    sender, idle = lab.spokes[0], lab.spokes[-1]

    with firewall(idle, *STATEFUL_ONLY):
        with lab.listen([lab.hub, idle]) as before:
            first = sender.udp.send(to=lab.everyone)
        with lab.listen([lab.hub]):
            idle.udp.send(to=lab.everyone)
        with lab.listen([idle]) as after:
            sender.udp.send(to=lab.everyone)

    assert before.payloads == {"hub": [first.payload], idle.name: []}
    after.exactly_once(at=[idle.name])


@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
def test_a_stateful_rule_is_deaf_again_when_its_entry_has_run_out(build_lab):
    """Once the conntrack entry of a spoke's own packet has expired, the spoke again receives nothing."""
    lab = build_lab()
    sender, quiet = lab.spokes[0], lab.spokes[-1]

    with firewall(quiet, policy={"INPUT": "ACCEPT"}):  # loads the modules
        # before the first packet is tracked: an entry keeps the timeouts with which it was made
        quiet.node.write_sysctls(dict.fromkeys(TIMEOUTS, 0))
    with firewall(quiet, *STATEFUL_ONLY):
        with lab.listen([lab.hub]) as talked:
            quiet.udp.send(to=lab.everyone)
        with lab.listen([quiet]) as heard:
            sender.udp.send(to=lab.everyone)

    talked.exactly_once(at=["hub"])
    heard.nothing(at=[quiet.name])
