"""
The fix for an IPsec policy that drops tunnel packets leaves the policies of a VPN on the same host.

    spoke2: policy "gre, in, block"  +  policy of a VPN  --(the fix)-->  policy of the VPN
"""

from collections.abc import Iterator

import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.diagnose import explain, scene
from lab.faults import catalogue
from lab.laboratory import Lab
from lab.model import TunnelOptions, Underlay
from lab.topology import topologies
from selftests.faults.matrix.inner import machine_for

OF_VPN = "src 192.168.0.0/24 dst 192.168.1.0/24"


@pytest.fixture(params=["ipsec-blocks-in", "ipsec-blocks-hosts", "ipsec-wanted"])
def blocked_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab in which IPsec drops the tunnel packets of spoke2, which has policies of a VPN also."""
    tunnel = "gretap"
    plan = topologies.star(2, TunnelOptions(kind=tunnel))
    with machine_for(tunnel, "guest") as made, laboratory.build(made, plan, Underlay(provider("oci"))) as lab:
        catalogue.named(request.param).inject(lab)
        for direction in ("in", "out"):
            made = lab["spoke2"].node.run("sh", "-c", f"ip xfrm policy add {OF_VPN} dir {direction} action block")
            assert made["status"] == 0, made["errors"]
        yield lab


def test_the_fix_removes_the_policy_for_tunnel_packets_alone(blocked_lab):
    """Of three policies those of the VPN remain, and nothing is found any more."""
    (finding,) = explain.explain(scene.gather(blocked_lab))
    assert (finding.code, finding.node) == ("ipsec-drops", "spoke2")

    spoke = blocked_lab["spoke2"].node
    fixed = spoke.run("sh", "-c", finding.remedy)
    assert fixed["status"] == 0, (finding.remedy, fixed["errors"])

    left = [line for line in spoke.run("ip", "xfrm", "policy")["output"].splitlines() if line.startswith("src ")]
    assert [line.strip() for line in left] == [OF_VPN] * 2
    assert explain.explain(scene.gather(blocked_lab)) == ()
