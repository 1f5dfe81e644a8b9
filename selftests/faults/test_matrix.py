"""
The suite has teeth, and says what bit: every fault that is met in practice is caught, named, located and mended.

    lab/faults/  --inject-->  an inner run of the tests of its `reds`  -->  failed, each of them; its `greens` passed
                                                                       -->  the finding that names it, at its place
                 remedies run on the broken labs, the same tests       -->  passed, each of them
                 (none)       the same tests on a healthy lab          -->  passed, each of them
"""

import pytest

from lab.faults import catalogue
from selftests.faults import inner
from selftests.faults.conftest import CONTROL, reds_on

pytestmark = pytest.mark.alone("uses every processor by a pool of its own")

FAULTS = sorted(catalogue.known())
MENDABLE = [name for name in FAULTS if catalogue.named(name).mended]
TUNNELS = sorted({inner.tunnel_for(fault) for fault in catalogue.known().values()})


@pytest.mark.parametrize("fault", FAULTS)
def test_turns_its_requirements_red(runs, row, fault):
    """Under the fault every requirement that it names fails, and those that it leaves alone hold."""
    ran, known = runs[fault].result(), catalogue.named(fault)
    expected = {**dict.fromkeys(known.greens, "passed"), **dict.fromkeys(known.reds, "failed")}

    found = ran.of(expected)

    row(fault, "caught", ("" if found == expected else "NOT ") + ", ".join(known.reds))
    assert found == expected, f"{ran.command}\n{ran.printed}"


@pytest.mark.parametrize("fault", FAULTS)
def test_is_named_and_located(runs, row, fault):
    """The findings name the fault, on its node and interface."""
    ran, known = runs[fault].result(), catalogue.named(fault)
    node, interface = inner.place(known)
    found = [(one["code"], one["node"], one["interface"]) for one in ran.findings]

    named = [one for one in found if one[:2] == (known.finding.code, node) and interface in (one[2], "")]

    row(fault, "found", f"{'' if named else 'NOT '}{known.finding.code} at {node} {interface}")
    assert named, f"expected {known.finding.code} at {node} {interface}, found {found}\n{ran.command}\n{ran.printed}"


@pytest.mark.parametrize("fault", MENDABLE)
def test_is_mended_by_the_printed_remedy(runs, row, fault):
    """When the remedies of the findings have been run, what was red holds again, and so does what was not."""
    ran, known = runs[fault].result(), catalogue.named(fault)
    expected = dict.fromkeys([*known.reds, *known.greens], "")

    after = {identity: ran.mended.get(identity, "unheard") for identity in expected}

    row(fault, "mended", "mended" if after == expected else "NOT mended")
    assert after == expected, f"{ran.command}\nrefused: {ran.refused}\n{ran.printed}"


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_the_same_requirements_hold_on_a_healthy_lab(runs, tunnel):
    """Without a fault every requirement that a fault turns red is fulfilled: the tests do not simply fail."""
    ran, wanted = runs[f"{CONTROL} {tunnel}"].result(), reds_on(tunnel)

    assert ran.of(wanted) == dict.fromkeys(wanted, "passed"), f"{ran.command}\n{ran.printed}"


def test_every_fault_says_what_it_breaks():
    """Every fault names at least one requirement, a kind of tunnel, a finding, and in words what is wrong."""
    for fault in catalogue.known().values():
        assert fault.reds, fault.name
        assert fault.tunnels, fault.name
        assert fault.what, fault.name
        assert fault.finding, fault.name
