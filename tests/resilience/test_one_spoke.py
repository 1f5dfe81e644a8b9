"""
One spoke fails: the others do not notice, and the node that refuses says so.

    spoke1 --tunnel1--( hub: bridge0 )  x  tunnel3-- spoke3       spoke1, spoke2 and the hub hear each other as before
"""

import pytest

pytestmark = pytest.mark.requirement("FAULT-04")

PORT_UNREACHABLE = (3, 3)
FAILURES = {"hub-port-down": "hub", "tunnel-missing": "spoke", "tunnel-down": "spoke", "wrong-remote": "hub"}
"""How a spoke fails, by the names of the faults, and who then refuses what it gets."""


def exchange(lab):
    """Every node sends one broadcast; returns who heard whom."""
    senders = {}
    with lab.listen(lab.hosts) as heard:
        for host in lab.hosts.values():
            senders[host.udp.send(to=lab.everyone).payload] = host.name
    return {name: {senders[payload] for payload in got} - {name} for name, got in heard.payloads.items()}


def test_no_spoke_is_cut_off(overlay, spoke):
    """Each spoke has an answer from every other node to one broadcast ping."""
    assert spoke.ping(overlay.everyone).others == dict.fromkeys(overlay.others(spoke), 1)


@pytest.fixture
def failing(build_lab, inject, not_applicable):
    """A lab of three spokes whose last one fails in the way that is named: (lab, the spoke)."""

    def fail(failure):
        lab = build_lab(spokes=3)
        if failure == "wrong-remote" and lab.topology.options.kind != "gretap":
            not_applicable("a VXLAN tunnel takes what comes from any address: the spoke would be heard")
        inject(lab, failure)
        return lab, lab.spokes[-1]

    return fail


@pytest.mark.provoking
@pytest.mark.parametrize("failure", ["hub-port-down", "tunnel-down", "wrong-remote"])
def test_the_others_do_not_notice(failing, failure):
    """The spoke that failed hears nobody and is heard by nobody; all others hear each other."""
    lab, cut_off = failing(failure)
    well = set(lab.hosts) - {cut_off.name}

    assert exchange(lab) == {name: well - {name} if name in well else set() for name in lab.hosts}


@pytest.mark.provoking
@pytest.mark.tunnel("gretap")
@pytest.mark.parametrize("failure", FAILURES)
def test_whoever_refuses_is_named(failing, refusals, failure):
    """The node whose tunnel is down, missing or mismatched answers the other end's GRE with ICMP 3/3."""
    lab, cut_off = failing(failure)
    refusing, sender = (lab.hub, cut_off) if FAILURES[failure] == "hub" else (cut_off, lab.hub)

    sender.udp.send(to=lab.everyone, port=9)

    assert (refusing.name, *PORT_UNREACHABLE) in refusals(lab, sender)


@pytest.mark.provoking
def test_it_is_back_when_its_port_is(provoked):
    """The hub's port up again, the spoke hears all others and is heard by them, and nobody did anything else."""
    spoke = provoked.spokes[-1]
    port = provoked.topology.tunnel_of(spoke.name).hub_device
    down, up = (("link_set", {"device": port, "up": state}) for state in (False, True))

    with provoked.hub.node.changed(down, up):
        pass

    assert exchange(provoked) == {name: set(provoked.others(name)) for name in provoked.hosts}
