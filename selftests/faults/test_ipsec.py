"""
The fix for an IPsec policy that drops tunnel packets leaves the policies of a VPN on the same host.

    spoke2: policy "gre, in, block"  +  policy of a VPN  --(the fix)-->  policy of the VPN
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

OF_VPN = "src 192.168.0.0/24 dst 192.168.1.0/24"


@pytest.fixture(params=["ipsec-blocks-in", "ipsec-wanted"])
def blocked_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab in which IPsec drops the tunnel packets of spoke2, which has policies of a VPN also."""
    tunnel = "gretap"
    try:
        starting = choose.start(choose.choose("guest", tunnel), execnet.Group())
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    plan = topologies.standard(2, TunnelOptions(kind=tunnel))
    with laboratory.build(starting.machine(), plan, Underlay(provider("oci"))) as lab:
        catalogue.named(request.param).inject(lab)
        for direction in ("in", "out"):
            made = lab["spoke2"].node.run("sh", "-c", f"ip xfrm policy add {OF_VPN} dir {direction} action block")
            assert made["status"] == 0, made["errors"]
        yield lab
    starting.close()


def test_the_fix_removes_the_policy_for_tunnel_packets_alone(blocked_lab):
    """Of three policies those of the VPN remain, and nothing is found any more."""
    (finding,) = explain.explain(scene.gather(blocked_lab, planned=True))
    assert (finding.code, finding.node) == ("ipsec-drops", "spoke2")

    spoke = blocked_lab["spoke2"].node
    fixed = spoke.run("sh", "-c", finding.remedy)
    assert fixed["status"] == 0, (finding.remedy, fixed["errors"])

    left = [line for line in spoke.run("ip", "xfrm", "policy")["output"].splitlines() if line.startswith("src ")]
    assert [line.strip() for line in left] == [OF_VPN] * 2
    assert explain.explain(scene.gather(blocked_lab, planned=True)) == ()
