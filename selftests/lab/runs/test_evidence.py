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

from selftests import plain

ROOT = Path(__file__).resolve().parents[3]
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
    """The results hold for each failed test the broadcast's path, to the first receiver that did not get it."""
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


def test_allure_shows_the_steps(reports):
    """The Allure result of a failed test has the steps set up, sent, received and expected, the cause and its fix."""
    pytest.importorskip("allure")
    folder = reports / "allure-results"
    results = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]

    steps = [(one["status"], one["name"]) for one in next(one for one in results if one["status"] == "failed")["steps"]]

    said = [f"{status} {name.partition(': ')[0]}" for status, name in steps]
    before, after = ["passed arrange", "passed stimulus", "passed received"], ["failed expected"] * 2
    assert said == [*before, *after, "failed cause", "passed fix"], steps
    assert "listen on UDP port" in steps[0][1]
    assert steps[3][1].endswith(": each payload once")
    assert steps[-1][1] == "fix: on hub: ip link set vxlan2 master bridge0"


def test_allure_shows_what_a_test_changes(tmp_path):
    """A change of a host and its undoing are steps."""
    pytest.importorskip("allure")
    tests = ["tests/icmp/test_broadcast_ping.py", "-k", "pinger_that_ignores"]
    options = ["-q", "-p", "no:cacheprovider", "--tunnel=vxlan", f"--reports={tmp_path}", *tests]

    subprocess.run([sys.executable, "-m", "pytest", *options], cwd=ROOT, capture_output=True, timeout=DEADLINE)

    results = [json.loads(path.read_text()) for path in tmp_path.glob("allure-results/*-result.json")]
    steps = [[one["name"] for one in result.get("steps", ())] for result in results]
    (names,) = [names for names in steps if "stimulus: hub pings 172.16.254.255" in names]
    assert names[0] == "arrange: hub: net.ipv4.icmp_echo_ignore_broadcasts=1"
    assert names[2] == "arrange: hub: net.ipv4.icmp_echo_ignore_broadcasts=0"


def test_a_delivery_that_comes_twice_is_not_as_expected(tmp_path):
    """Beside a second tunnel between two hosts, which doubles every broadcast, the matrix has no mark for success."""
    named = ("tests/broadcast/test_delivery.py", "-k", "exactly_once and hub", "--tunnel=vxlan")

    ran = plain.run(*named, "--inject=second-tunnel", f"--reports={tmp_path}")

    deliveries = json.loads((tmp_path / "conformance.json").read_text())["deliveries"]
    assert {one["mark"] for one in deliveries if one["receiver"] == "spoke2"} == {"wrong"}, ran.stdout
