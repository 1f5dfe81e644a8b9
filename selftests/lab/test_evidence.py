"""
What a failing run of the suite leaves behind, seen from outside.

    pytest --inject=port-detached    three failed tests of one lab in one state
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120  # seconds; a few in practice


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The results of such a run."""
    folder = tmp_path_factory.mktemp("reports")
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"),
        *("tests/broadcast/test_delivery.py", "-k", "exactly_once", "--tunnel=vxlan", "--inject=port-detached"),
        f"--reports={folder}",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE)
    assert "3 failed" in ran.stdout, ran.stdout + ran.stderr
    return folder


def _attached(reports):
    """The attachments of each failed test, in the order of the tests: name to content."""
    folder = reports / "allure-results"
    results = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]
    return [
        {one["name"]: (folder / one["source"]).read_bytes() for one in result.get("attachments", ())}
        for result in sorted(results, key=lambda result: result["start"])
    ]


def test_each_failure_has_its_paths(reports):
    """The results hold for each failed test how far the broadcast came, to whom it did not first."""
    result = json.loads((reports / "conformance.json").read_text())

    paths = [test["paths"] for test in result["tests"] if test["outcome"] == "failed"]

    assert len(paths) == 3
    assert all(first["heard"] == 0 and not first["legs"][-1]["seen"] for first, *_ in paths)
    assert all(path["heard"] == path["expected"] for _, *others in paths for path in others)
    assert "never" in (reports / "index.html").read_text()


def test_the_evidence_of_a_cause_is_attached_once(reports):
    """Tests that fail by the same cause share one account of the lab's state and its frames, which the others name."""
    pytest.importorskip("allure")
    first, *others = _attached(reports)

    assert b"=== hub ===" in first["state of the lab.txt"]
    assert "hub" in json.loads(first["state of the lab.json"])
    assert all(b"where it is attached" in attached["state of the lab.txt"] for attached in others)
    assert len(first["frames.pcapng"]) > 100
    assert not any("frames.pcapng" in attached for attached in others)
