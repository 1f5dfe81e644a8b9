"""
The overlay is still there after a boot: files that a boot reads make each part of it.

    ip link add gretap1 ...       is gone          /etc/systemd/network/50-gretap1.netdev    is read, and makes it again
"""

import pytest


@pytest.mark.requirement("BOOT-01")
def test_a_boot_makes_every_device_and_the_multicast_route(lost_at_boot):
    """On each host, files that a boot uses name every device of the overlay and the multicast route."""
    assert lost_at_boot == []


@pytest.mark.requirement("BOOT-02")
def test_a_boot_lets_hosts_answer_broadcast_pings(lost_at_boot):
    """On each host, the last file of sysctl.d that sets icmp_echo_ignore_broadcasts sets it to 0."""
    assert lost_at_boot == []


@pytest.mark.requirement("BOOT-03")
def test_a_boot_makes_the_same_overlay(lost_at_boot):
    """On each host, the files have the overlay's present addresses, and one tool makes each device."""
    assert lost_at_boot == []


@pytest.mark.requirement("BOOT-05")
def test_a_boot_keeps_the_firewall_open(firewall_lost_at_boot):
    """On each host, firewalld's permanent configuration accepts the overlay's packets that it accepts now."""
    assert firewall_lost_at_boot == []


@pytest.mark.requirement("BOOT-06")
def test_a_boot_loads_the_rules_that_let_tunnel_packets_in(rules_lost_at_boot):
    """On each host, a file that a boot loads has the rule without which nft or iptables drops tunnel packets."""
    assert rules_lost_at_boot == []
