"""
The suite has teeth: under every fault that is met in practice the requirements that it breaks turn red, and no others.

    lab/faults/  --inject-->  inner run of the tests of its `reds`   -->  failed, each of them; its `greens` passed
                 (none)       the tests that failed, in the same run -->  passed, each of them
"""

import pytest

from lab.faults import catalogue
from lab.requirements import in_scope, scope
from selftests.faults.matrix.in_turn import HEALTHY

pytestmark = pytest.mark.alone("uses every processor by a pool of its own")


@pytest.mark.parametrize("fault", sorted(catalogue.known()))
def test_turns_its_requirements_red(runs, row, fault):
    """Under the fault every requirement in its `reds` fails, and those in its `greens` hold."""
    ran, known = runs[fault].result()[fault], catalogue.named(fault)
    expected = {**dict.fromkeys(known.greens, "passed"), **dict.fromkeys(known.reds, "failed")}

    found = ran.of(expected)

    row(fault, "caught", ("" if found == expected else "NOT ") + ", ".join(known.reds))
    assert found == expected, f"{ran.command}\n{ran.printed}"


@pytest.mark.parametrize("fault", sorted(catalogue.known()))
def test_what_failed_holds_on_healthy_labs(runs, fault):
    """The tests that failed under the fault pass on labs without any: they do not simply fail."""
    healthy, reds = runs[fault].result()[HEALTHY], catalogue.named(fault).reds

    assert healthy.of(reds) == dict.fromkeys(reds, "passed"), healthy.printed


def test_every_must_has_a_fault():
    """There is a fault for every MUST, and every fault names the requirements that it breaks."""
    reds = {red for fault in catalogue.known().values() for red in fault.reds}
    areas = scope({"applications": True, "provider": "aws-tgw"}.get)
    musts = [one.id for one in in_scope(areas) if one.level == "MUST"]

    assert [identity for identity in musts if identity not in reds] == []
    for fault in catalogue.known().values():
        assert fault.reds, fault.name
        assert fault.tunnels, fault.name
        assert fault.what, fault.name
        assert fault.finding, fault.name
