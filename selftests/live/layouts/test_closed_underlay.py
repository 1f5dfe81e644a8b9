"""
Hosts whose firewalls let in their tunnels and ssh alone, as distributions set them up: the overlay is good.

    hub <── UDP 4789, TCP 22 ──> spoke1, spoke2            hub <── any other UDP, TCP, ICMP ──x spoke1, spoke2
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.laboratory import Lab
from selftests.live.conftest import on_this_kernel
from selftests.live.layouts.test_overlays import run, shell
from selftests.live.persistence import daemons

NFT = "/usr/sbin/nft"
RULES = """
table inet host {{
  chain input {{
    type filter hook input priority filter; policy drop
    iifname {{ "lo", "{device}" }} accept
    ct state established accept
    udp dport 4789 accept
    tcp dport 22 accept
  }}
}}
"""


def test_no_requirement_fails(tmp_path: Path) -> None:
    """What cannot be tested on the underlay did not run, each with what to allow for the test; nothing fails."""
    if not daemons.installed(NFT):
        pytest.skip("nft is missing: apt-get install nftables")

    def prepare(lab: Lab) -> None:
        for name, plan in lab.plans.items():
            shell(lab, name, f"printf '%s' '{RULES.format(device=plan.device)}' | {NFT} -f -")

    (tmp_path / "rig").mkdir()
    with on_this_kernel(tmp_path / "rig", prepare=prepare) as rig:
        done, result = run(rig, tmp_path)

    outcomes = {one["id"]: one["outcome"] for one in result["requirements"]}
    assert "failed" not in outcomes.values(), done.stdout[-3000:] + done.stderr
    assert {one for one, outcome in outcomes.items() if outcome == "not-run"} == {
        "UNDER-01",
        "UNDER-02",
        "UNDER-03",
        "UNDER-05",
        "UNDER-07",
    }
    assert result["findings"] == []
    advice = json.dumps(result)
    assert all(f"for the test, allow {what}" in advice for what in ("UDP ports", "TCP ports", "ICMP echo"))
