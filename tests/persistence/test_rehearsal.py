"""
A boot of the hosts' own files, in a lab, makes the overlay that the live hosts have.

    live hosts ── their files ──▶ lab: the same tools boot them ──▶ the same devices, addresses and routes?
"""

import pytest


@pytest.mark.requirement("BOOT-04")
def test_a_rehearsed_boot_makes_the_same_overlay(rehearsed_findings):
    """On each host, the tools make every device, address and route of the live overlay from the files, and no other."""
    assert rehearsed_findings == []
