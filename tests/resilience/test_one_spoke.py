"""
One spoke fails: the others are not affected, and the node that rejects its packets answers with an ICMP error.

    spoke1 --tunnel1--( hub: bridge0 )  x  tunnel3-- spoke3       spoke1, spoke2 and the hub hear each other as before
"""

import pytest

from fixtures.areas.resilience import cut_off
from fixtures.areas.underlay import refusals
from fixtures.built_labs.labs import inject
from fixtures.probes import exchange
from fixtures.requirements import not_applicable

pytestmark = pytest.mark.requirement("FAULT-04")

PORT_UNREACHABLE = (3, 3)
FAILURES = {"hub-port-down": "hub", "tunnel-missing": "spoke", "tunnel-down": "spoke", "wrong-remote": "hub"}
"""How a spoke fails, by the names of the faults, and who then refuses what it gets."""


def test_no_spoke_is_cut_off(overlay, spoke):
    """Each spoke gets an answer from every other node to one broadcast ping."""
    assert spoke.ping(overlay.everyone).others == dict.fromkeys(overlay.others(spoke), 1)


@pytest.mark.disruptive
@pytest.mark.usefixtures("only_hub")
@pytest.mark.parametrize("failure", FAILURES)
def test_the_others_do_not_notice(build_lab, failure):
    """The failed spoke neither receives nor delivers, all others still deliver, and the rejected end gets ICMP 3/3."""
    lab = build_lab(spokes=3)
    gretap, cut_off = lab.topology.options.kind == "gretap", lab.spokes[-1]
    if failure == "wrong-remote" and not gretap:
        not_applicable("a VXLAN tunnel takes what comes from any address: the spoke would be heard")
    well = set(lab.hosts) - {cut_off.name}
    inject(lab, failure)

    assert exchange(lab) == {name: well - {name} if name in well else set() for name in lab.hosts}
    if gretap:  # the end whose tunnel is down, missing or mismatched answers the other end's GRE with ICMP 3/3
        refusing, refused = (lab.hub, cut_off) if FAILURES[failure] == "hub" else (cut_off, lab.hub)
        assert (refusing.name, *PORT_UNREACHABLE) in refusals(lab, refused)


@pytest.mark.disruptive
@pytest.mark.usefixtures("without_stp")
def test_it_is_back_when_its_port_is(mutable_lab):
    """With the hub's port up again, the spoke receives from all others and they from it, without another change."""
    spoke = mutable_lab.spokes[-1]

    with cut_off(mutable_lab, spoke):
        pass

    assert exchange(mutable_lab) == {name: set(mutable_lab.others(name)) for name in mutable_lab.hosts}
