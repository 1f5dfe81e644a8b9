"""
The suite has teeth: every fault that is met in practice turns the requirements red that it breaks.

    lab/faults/  --inject-->  an inner run of the tests of its `reds`  -->  conformance.json: failed, each of them
                 (none)       the same tests on a healthy lab          -->  conformance.json: passed, each of them
"""

import pytest

from lab.faults import catalogue
from selftests.faults import inner
from selftests.faults.conftest import CONTROL, reds_on

FAULTS = sorted(catalogue.known())
TUNNELS = sorted({inner.tunnel_for(fault) for fault in catalogue.known().values()})


@pytest.mark.parametrize("fault", FAULTS)
def test_turns_its_requirements_red(runs, row, fault):
    """Under the fault every requirement that it names fails."""
    ran, reds = runs[fault].result(), catalogue.named(fault).reds

    found = ran.of(reds)

    row.append((fault, inner.tunnel_for(catalogue.named(fault)), ", ".join(f"{i} {o}" for i, o in found.items())))
    assert found == dict.fromkeys(reds, "failed"), f"{ran.command}\n{ran.printed}"


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_the_same_requirements_hold_on_a_healthy_lab(runs, tunnel):
    """Without a fault every requirement that a fault turns red is fulfilled: the tests do not simply fail."""
    ran, wanted = runs[f"{CONTROL} {tunnel}"].result(), reds_on(tunnel)

    assert ran.of(wanted) == dict.fromkeys(wanted, "passed"), f"{ran.command}\n{ran.printed}"


def test_every_fault_says_what_it_breaks():
    """Every fault names at least one requirement, a kind of tunnel, and in words what is wrong."""
    for fault in catalogue.known().values():
        assert fault.reds, fault.name
        assert fault.tunnels, fault.name
        assert fault.what, fault.name
