"""
A loss that no rule explains is reported, whatever else is unusual; what is unusual is no explanation for it.

    spoke1 is cut off at one stage, and another fault is beside it at the hub or at spoke2
    the rules that know the cut are taken away, and of the others all, or all but one
                                                       --> lost-at-STAGE, which is no evidence of any other
"""

from collections.abc import Iterator

import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.diagnose import explain, scene
from lab.diagnose.losses import Loss
from lab.diagnose.scene import Scene
from lab.faults import catalogue
from lab.machines.base import Machine
from lab.model import TunnelOptions, Underlay
from lab.topology import topologies
from selftests.faults.matrix.inner import machine_for

TUNNEL = "vxlan"


def dropping(node: str, device: str, hook: str, match: str) -> str:
    """The command of a rule that drops what passes a device."""
    chain = f"'add chain netdev cut c {{ type filter hook {hook} device {device} priority 0; }}'"
    return f"{node}: nft add table netdev cut && nft {chain} && nft add rule netdev cut c {match} counter drop"


CUTS = {
    "sending": dropping("spoke1", "vxlan1", "egress", "ip protocol udp"),
    "encapsulation": dropping("spoke1", "ens3", "egress", "udp dport 4789"),
    "cloud": dropping("vcn", "spoke1", "egress", "udp dport 4789"),
    "decapsulation": "spoke1: iptables -A INPUT -p udp --dport 4789 -j DROP",
    "forwarding": "hub: ip link set vxlan1 nomaster",
    "delivery": "spoke1: iptables -A INPUT -i vxlan1 -p udp -j DROP",
}
"""What cuts spoke1 off, by the stage at which its broadcast, or that of others to it, is lost."""
OTHERS = (
    "hub: sysctl -w net.ipv4.ip_default_ttl=31",
    "hub: sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=1 net.ipv4.conf.all.force_igmp_version=2",
    "multicast-route-missing",
    "arp-unanswered",
    "port-detached",
    "tunnel-down",
    "broadcast-not-flooded",
)
"""Faults that lose nothing between spoke1 and the hub."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine that makes the tunnels."""
    with machine_for(TUNNEL) as made:
        yield made


def tried(machine: Machine, *faults: str) -> Scene:
    """What is seen of a lab with faults."""
    plan = topologies.star(2, TunnelOptions(kind=TUNNEL))
    with laboratory.build(machine, plan, Underlay(provider("oci"))) as lab:
        for fault in faults:
            catalogue.named(fault).inject(lab)
        return scene.gather(lab)


def between_the_first_two(seen: Scene) -> list[Loss]:
    """The broadcast that is lost between the hub and spoke1."""
    losses = [loss for loss in seen.losses if loss.exchange.kind == "broadcast"]
    return [loss for loss in losses if {loss.exchange.sender, loss.receiver} == {"hub", "spoke1"}]


@pytest.mark.parametrize("stage", CUTS)
def test_no_loss_is_silent_or_another_findings_evidence(machine, monkeypatch, stage):
    """Without the rule that explains a cut, its losses are reported at their place, and nowhere else."""
    known = explain.known()
    alone = tried(machine, CUTS[stage])
    causes = {one.code for one in explain.explain(alone)}
    assert [loss for loss in between_the_first_two(alone) if loss.stage == stage]

    for beside in OTHERS:
        seen = tried(machine, CUTS[stage], beside)
        cut = between_the_first_two(seen)
        unknowing = [rule for rule in known if found(rule, seen) and not found(rule, seen) & causes]
        for kept in ((), *((rule,) for rule in unknowing), tuple(unknowing)):
            monkeypatch.setattr(explain, "known", lambda after="", kept=kept: () if after else kept)
            findings = explain.explain(seen)
            ended = [one for one in findings if one.code.startswith(("lost-at-", "partly-lost-at-"))]
            reported = {part for one in ended for part in one.code.partition("lost-at-")[2:]}

            assert {loss.stage for loss in cut} <= reported, beside
            taken = [
                one for one in findings if one not in ended and any(one.evidence.endswith(f"; {loss}") for loss in cut)
            ]
            assert taken == [], beside
        monkeypatch.setattr(explain, "known", lambda after="": () if after else known)


def found(rule: explain.RuleFunction, seen: Scene) -> set[str]:
    """The codes of what a rule finds."""
    return {one.code for one in explain.run(rule, seen)}
