"""
What two hubs are for has teeth: faults that little shows of while both hubs are there turn the RED requirements red.

    bond without ARP probes, no tunnel between hubs, every frame sent twice      PRP with one tunnel down
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selftests.faults.inner import LEAN
from selftests.faults.pool import ROOT

BOND, PRP = "two-hubs-bond", "two-hubs-prp"
DOWN = "spoke1: ip link set gretap2 down"
FAULTS = {
    (BOND, "spoke1: ip link set bond1 type bond arp_interval 0"): ({"RED-01", "RED-02", "RED-03"}, "bond-not-watching"),
    (BOND, "hub: ip link del gretap3"): ({"RED-03"}, "tunnel-missing"),
    (PRP, DOWN): ({"RED-01", "RED-02", "RED-03", "RED-06"}, "tunnel-down"),
    (BOND, "hub: tc qdisc add dev gretap2 root netem duplicate 100%"): ({"RED-04", "RED-05"}, "traffic-impaired"),
}

pytestmark = pytest.mark.alone("a stream of numbers is disturbed by other labs of its machine")


def judged(reports: Path, *arguments: str) -> tuple[dict[str, str], set[str]]:
    """The outcomes of the RED requirements, and the codes of what was found."""
    command = [sys.executable, "-m", "pytest", *LEAN, f"--reports={reports}", *arguments, "tests/redundancy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    result = json.loads((reports / "conformance.json").read_text(encoding="utf-8"))
    outcomes = {one["id"]: one["outcome"] for one in result["requirements"] if one["id"].startswith("RED-")}
    assert outcomes, done.stdout
    return outcomes, {str(one["code"]) for one in result["findings"]}


@pytest.mark.parametrize("design", [BOND, PRP])
def test_holds_on_a_healthy_lab(tmp_path: Path, design: str) -> None:
    """Every RED requirement holds that the design can hold, and nothing is found."""
    outcomes, found = judged(tmp_path, f"--topology={design}")

    of_prp = {"RED-06": "passed" if design == PRP else "not-applicable"}  # a bond sends by one tunnel
    assert outcomes == {**dict.fromkeys(outcomes, "passed"), **of_prp}
    assert found == set()


def test_does_not_apply_to_a_single_hub(tmp_path: Path) -> None:
    """With one hub none of them applies, and the results list them as not applicable."""
    outcomes, _ = judged(tmp_path, "--tunnel=vxlan")

    assert outcomes == dict.fromkeys(outcomes, "not-applicable")


@pytest.mark.parametrize(("design", "fault"), FAULTS, ids=[f"{design}, {fault}" for design, fault in FAULTS])
def test_turns_red_and_is_named(tmp_path: Path, design: str, fault: str) -> None:
    """Under a fault the requirements that it breaks fail, and the cause is named."""
    reds, code = FAULTS[design, fault]

    outcomes, found = judged(tmp_path, f"--topology={design}", f"--inject={fault}")

    assert {name for name, outcome in outcomes.items() if outcome == "failed"} >= reds
    assert code in found
