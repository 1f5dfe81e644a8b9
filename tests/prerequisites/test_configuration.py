"""
The configuration as a whole: both ends of every tunnel fit, and what belongs to the overlay is where it must be.

    hub: bridge0 [address] <- tunnel1, tunnel2        spoke: tunnel [address], remote = the hub
"""

import pytest


@pytest.mark.requirement("PRE-08", "PRE-09", "HUB-02", "WIRE-07", "WIRE-08")
def test_is_complete_and_free_of_contradictions(configuration_findings):
    """Read back from the hosts, the overlay has no missing, mismatched or detached part."""
    assert configuration_findings == []
