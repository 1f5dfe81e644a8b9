"""The RED requirements hold on healthy designs with two hubs, and apply to no other one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selftests import plain
from selftests.faults.matrix.inner import LEAN

BOND, PRP = "two-hubs-bond", "two-hubs-prp"

pytestmark = pytest.mark.alone("a stream of numbers is disturbed by other labs of its machine")


def judged(reports: Path, *arguments: str) -> tuple[dict[str, str], set[str]]:
    """The outcomes of the RED requirements, and the codes of what was found."""
    done = plain.run(*LEAN, f"--reports={reports}", *arguments, "tests/redundancy")
    result = json.loads((reports / "conformance.json").read_text(encoding="utf-8"))
    outcomes = {one["id"]: one["outcome"] for one in result["requirements"] if one["id"].startswith("RED-")}
    assert outcomes, done.stdout
    return outcomes, {str(one["code"]) for one in result["findings"]}


@pytest.mark.parametrize("design", [BOND, PRP])
def test_holds_on_a_healthy_lab(tmp_path: Path, design: str) -> None:
    """Every RED requirement holds that the design can hold, and nothing is found."""
    outcomes, found = judged(tmp_path, f"--topology={design}")

    others = dict.fromkeys(("RED-07", "RED-08"), "not-applicable")  # of STP, and of a standby
    of_prp = {"RED-06": "passed" if design == PRP else "not-applicable"}  # a bond sends by one tunnel
    assert outcomes == {**dict.fromkeys(outcomes, "passed"), **of_prp, **others}
    assert found == set()


def test_does_not_apply_to_a_single_hub(tmp_path: Path) -> None:
    """With one hub none of them applies, and the results list them as not applicable."""
    outcomes, _ = judged(tmp_path, "--tunnel=vxlan")

    assert outcomes == dict.fromkeys(outcomes, "not-applicable")
