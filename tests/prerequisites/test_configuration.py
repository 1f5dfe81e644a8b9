"""
The configuration as a whole: both ends of every tunnel fit, and what belongs to the overlay is where it must be.

    hub: bridge0 [address] <- tunnel1, tunnel2        spoke: tunnel [address], remote = the hub

A finding of the diagnosis breaks the requirements of its code (`lab/diagnose/codes.json`), and no other.
"""

import pytest

REQUIREMENTS = ("PRE-08", "PRE-09", "PRE-14", "HUB-02", "HUB-08", "WIRE-07", "WIRE-08")


@pytest.mark.parametrize("asserted", [pytest.param(one, marks=pytest.mark.requirement(one)) for one in REQUIREMENTS])
def test_has_no_finding(configuration_findings, asserted):
    """The hosts' configuration has no finding that breaks the requirement."""
    found = configuration_findings(asserted)

    assert found == [], f"found {', '.join(found)}; expected no finding"
