"""
A loss that no rule explains is reported, whatever else is unusual; what is unusual is no explanation for it.

    hub gretap2, no port of bridge0 --(the rule that knows it is taken away)--> lost-at-forwarding, and not as evidence
"""

from collections.abc import Iterator

import execnet
import pytest

from lab import laboratory, topologies
from lab.diagnose import explain, scene
from lab.errors import EnvironmentProblem
from lab.faults import catalogue
from lab.laboratory import Lab
from lab.machines import choose
from lab.model import TunnelOptions, Underlay
from lab.providers import provider

CUT = "port-not-bridged"
HARMLESS = {
    "default-ttl-low": {"net.ipv4.ip_default_ttl": 31},
    "broadcast-ping-ignored": {"net.ipv4.icmp_echo_ignore_broadcasts": 1},
    "igmp-version-forced": {"net.ipv4.conf.all.force_igmp_version": 2},
}
"""What is unusual at the hub and loses no broadcast, by its code."""


@pytest.fixture
def cut_lab() -> Iterator[Lab]:
    """A lab in which spoke2 is cut off at the hub."""
    tunnel = "vxlan"
    try:
        starting = choose.start(choose.choose("auto", tunnel), execnet.Group())
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    plan = topologies.standard(2, TunnelOptions(kind=tunnel))
    with laboratory.build(starting.machine(), plan, Underlay(provider("oci"))) as lab:
        catalogue.named("port-detached").inject(lab)
        yield lab
    starting.close()


@pytest.mark.parametrize("code", HARMLESS)
def test_what_is_unusual_hides_no_loss(cut_lab, monkeypatch, code):
    """Beside a finding that cannot have lost it, the loss is reported at its place, and is no evidence of it."""
    cut_lab.hub.node.write_sysctls(HARMLESS[code])
    seen = scene.gather(cut_lab, planned=True)
    rules = [rule for rule in explain.known() if CUT not in {one.code for one in rule(seen)}]
    monkeypatch.setattr(explain, "known", lambda: tuple(rules))

    found = {one.code: one for one in explain.explain(seen)}

    assert "lost-at-forwarding" in found
    assert "never on" not in found[code].evidence
