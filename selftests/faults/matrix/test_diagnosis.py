"""
What a fault is called, where it is, and the command that corrects it: every fault that is met in practice is explained.

    lab  --inject-->  trial, explain  -->  the finding that names it, at its place
         --the printed fixes-->  trial, explain  -->  no finding, and nothing is lost
"""

import pytest

from lab.faults import catalogue

pytestmark = pytest.mark.alone("uses every processor by a pool of its own")

FAULTS = sorted(catalogue.known())


@pytest.mark.parametrize("fault", FAULTS)
def test_is_named_and_located(diagnoses, row, fault):
    """The findings name the fault, on its host and interface."""
    came = diagnoses[fault].result()

    row(fault, "found", f"{'' if came.is_named else 'NOT '}{came.expected[0]} at {' '.join(came.expected[1:])}")
    assert came.is_named, f"expected {came.expected}, found {came.found}"


@pytest.mark.parametrize("fault", [name for name in FAULTS if catalogue.named(name).fixable])
def test_is_fixed_by_the_printed_commands(diagnoses, row, fault):
    """When the fixes of the findings have been run, nothing is found and nothing is lost."""
    came = diagnoses[fault].result()

    # a fix may find that another one has removed the device: what is left counts
    fixed = came.is_named and not (came.left or came.still_lost)

    row(fault, "fixed", "fixed" if fixed else "NOT fixed")
    assert fixed, f"found: {came.left}\nlost: {came.still_lost}\nrefused: {came.refused}\nbefore: {came.found}"
