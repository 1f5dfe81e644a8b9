"""
What the hub's bridge forwards is not given to its IP firewall.

    spoke1 --tunnel1--( bridge0 [br_netfilter: FORWARD] )--tunnel2-- spoke2

With br_netfilter and bridge-nf-call-iptables=1, bridged IPv4 passes the FORWARD chain, whose policy Docker makes DROP.
"""

import pytest

from fixtures.probes import firewall
from lab.stack.changes import bridge, link_set, neigh_add, neigh_del

pytestmark = pytest.mark.requirement("PRE-06")


def test_the_hub_lets_spokes_talk(overlay, spoke1, spoke2, everyone, listen):
    """IP between the spokes crosses the hub: unicast, and a broadcast that reaches the hub and the other spoke."""
    with listen(overlay.others(spoke1)) as heard:
        spoke1.udp.send(to=everyone)

    heard.exactly_once(at=overlay.others(spoke1))
    assert spoke1.ping(spoke2.address()).others == {spoke2.name: 1}


@pytest.fixture
def forward_drop(mutable_lab, hub, bridge_filter):
    """The hub with a FORWARD policy of DROP, and a bridge that hands IP to the firewall or does not: `(1, 0)`."""

    def closed(everywhere, this_bridge):
        hub.node.write_sysctls({bridge_filter: everywhere})
        hub.node.apply(link_set(mutable_lab.topology.bridge, bridge(nf_call_iptables=this_bridge)))
        return firewall(hub, policy={"FORWARD": "DROP"})

    before = hub.node.sysctl(bridge_filter)
    yield closed
    hub.node.write_sysctls({bridge_filter: before})
    hub.node.apply(link_set(mutable_lab.topology.bridge, bridge(nf_call_iptables=0)))


@pytest.mark.disruptive
@pytest.mark.parametrize(("everywhere", "this_bridge"), [(1, 0), (0, 1)], ids=["by-sysctl", "by-this-bridge-alone"])
@pytest.mark.usefixtures("one_way")
def test_a_filtering_bridge_cuts_the_spokes_from_each_other(
    mutable_lab, spoke1, spoke2, everyone, forward_drop, everywhere, this_bridge, listen
):
    """With FORWARD at DROP, a bridge that filters passes ARP but no IP between spokes; the hub receives everything."""
    known = {"device": spoke1.plan.device, "to": spoke2.address()}
    spoke1.node.apply(neigh_add(**known, lladdr="02:00:00:00:00:01"), neigh_del(**known))

    with forward_drop(everywhere, this_bridge):
        with listen(["hub", "spoke2"]) as heard:
            sent = spoke1.udp.send(to=everyone)
        other = spoke1.ping(spoke2.address())
        own = spoke1.ping(mutable_lab.hub.address())

    assert heard.payloads == {"hub": [sent.payload], "spoke2": []}
    assert (other.others, own.others) == ({}, {"hub": 1})
    assert resolved(spoke1, spoke2), "ARP, which is no IP, crosses the bridge"


def resolved(host, other):
    """Whether a host has learned another one's overlay MAC."""
    return any(entry.dst == other.address() and entry.lladdr for entry in host.node.read("neighbours"))


@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
def test_a_bridge_that_filters_nothing_passes_a_closed_firewall(mutable_lab, spoke1, everyone, forward_drop, listen):
    """With FORWARD at DROP, a bridge that does not call iptables passes everything."""
    others = mutable_lab.others(spoke1)

    with forward_drop(0, 0):
        with listen(others) as heard:
            spoke1.udp.send(to=everyone)

    heard.exactly_once(at=others)
