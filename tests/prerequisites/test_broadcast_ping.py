"""
icmp_echo_ignore_broadcasts is 0 on every node that is to answer broadcast pings; UDP does not care.

    spoke1 --- echo request to 172.16.254.255 ---> hub, spoke2      answered where the sysctl is 0 (ip-sysctl.rst)
"""

import pytest

from lab.model import ALL_HOSTS

pytestmark = pytest.mark.requirement("PRE-02")

SYSCTL = "net.ipv4.icmp_echo_ignore_broadcasts"


def test_every_host_is_set_to_answer(overlay):
    """Each host's icmp_echo_ignore_broadcasts is 0."""
    assert {name: host.node.sysctl(SYSCTL) for name, host in overlay.hosts.items()} == dict.fromkeys(overlay.hosts, "0")


@pytest.mark.disruptive
def test_a_fresh_host_ignores_broadcast_pings(bare_underlay):
    """On a host with a cloud's default configuration icmp_echo_ignore_broadcasts is 1."""
    assert {host.node.sysctl(SYSCTL) for host in bare_underlay.hosts.values()} == {"1"}


@pytest.mark.disruptive
def test_a_host_that_ignores_is_the_only_one_silent(mutable_lab, receiver, everyone, listen):
    """With 1 on one host, only its answers to broadcast and multicast pings are missing; a UDP broadcast arrives."""
    sender = mutable_lab[mutable_lab.others(receiver)[0]]
    answering = set(mutable_lab.hosts) - {receiver.name}

    with receiver.node.with_sysctl(SYSCTL, 1):
        sender.ping(everyone).exactly_once_by(answering)
        sender.ping(ALL_HOSTS, device=sender.plan.device, ttl=1).exactly_once_by(answering)
        with listen([receiver]) as heard:
            sender.udp.send(to=everyone)

    heard.exactly_once(at=[receiver.name])


@pytest.mark.disruptive
def test_when_all_ignore_only_udp_is_left(mutable_lab, spoke1, everyone, listen):
    """With icmp_echo_ignore_broadcasts=1 on every host none answers a broadcast ping; a UDP broadcast arrives."""
    hosts = list(mutable_lab.hosts.values())
    before = [(host, host.node.write_sysctls({SYSCTL: 1})) for host in hosts]

    answers = spoke1.ping(everyone)
    with listen(mutable_lab.others(spoke1)) as heard:
        spoke1.udp.send(to=everyone)

    for host, values in before:
        host.node.write_sysctls(values)
    assert answers.counts == {}
    heard.exactly_once(at=mutable_lab.others(spoke1))
