"""
The commands that the walk-throughs give their reader set up the overlay that conforms.

    docs/walkthroughs/oci.md    gretap, in the guest kernel       hub, spoke1, spoke2: hosts without an overlay
    docs/walkthroughs/azure.md  VXLAN, on this machine's own
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.laboratory import Lab
from lab.overlay.recognition import readback
from lab.overlay.recognition.detection import understand

WALKTHROUGHS = Path(__file__).resolve().parents[3] / "docs/walkthroughs"
DOCUMENTS = {"gretap": "oci.md", "vxlan": "azure.md"}
HEADERS = 20 + 8  # octets of IPv4 and ICMP
THE_CLOUDS_NIC = re.compile(r"\beth0\b")


def commands(document: str) -> dict[str, str]:
    """The blocks that begin with `# on the hub`, `# on spoke1`, `# on spoke2`, by host."""
    text = (WALKTHROUGHS / document).read_text(encoding="utf-8")
    return dict(re.findall(r"^```sh\n# on (?:the )?(hub|spoke\d)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


@pytest.fixture
def bare(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(overlay=False)


def test_the_commands_set_up_the_overlay_that_conforms(bare: Lab) -> None:
    """The overlay read from the hosts afterwards is the planned topology, without a finding, and delivers."""
    scripts = commands(DOCUMENTS[bare.topology.options.kind])
    assert set(scripts) == set(bare.plans)

    for name, script in scripts.items():
        nic = bare.plans[name].nic
        done = bare.nodes[name].run("sh", "-ec", THE_CLOUDS_NIC.sub(nic, script))
        assert done["status"] == 0, f"{name}: {done['errors']}"

    understood = understand(readback.read([bare.nodes[name] for name in bare.plans]))
    assert understood.findings == ()
    assert understood.topology == bare.topology
    assert bare.hub.node.link(bare.topology.bridge).mac == bare.topology.bridge_mac(bare.topology.hub)
    spoke1, spoke2 = bare.topology.spokes
    mtu = bare.hub.node.link(bare.topology.bridge).mtu
    for size, answered in ((mtu - HEADERS, True), (mtu - HEADERS + 1, False)):
        ping = ("ping", "-c", "1", "-w", "10" if answered else "1", "-M", "do", "-s", str(size), spoke2.address())
        pinged = bare.nodes[spoke1.name].run(*ping)
        assert (pinged["status"] == 0) == answered, pinged
