"""
A missing object: no test of a requirement about it passes, and each failure names what is missing.

    pytest --inject="hub: ip link del bridge0" --requirements=HUB-06    an assertion of emptiness holds of nothing
"""

import json
import os
import re
from pathlib import Path

import pytest

from selftests import plain

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 180  # seconds; some ten in practice
BARE = re.compile(r"(OS|Key|Index|Attribute|Type|Value|FileNotFound)Error\b|StopIteration\b|\[Errno ")

# the command that takes an object away, and the requirements about it, whose tests are about it whatever their host
MISSING = {
    "bridge": ("hub: ip link del bridge0", "HUB-02,HUB-06,HUB-08,FAULT-07,SNOOP-01,SNOOP-02,PRE-06,PRE-09"),
    "tunnel of the hub": (
        "hub: ip link del vxlan1",
        "HUB-02,HUB-06,FAULT-07,PRE-08,PRE-10,PRE-11,SEC-03,MTU-01,MTU-05,WIRE-02,WIRE-03",
    ),
    "tunnel of a spoke": ("spoke1: ip link del vxlan1", "PRE-08,PRE-10,SEC-03,MTU-01,MTU-05,WIRE-03"),
    "address of the hub": ("hub: ip addr del 172.16.254.1/24 dev bridge0", "PRE-09"),
    "address of a spoke": ("spoke1: ip addr del 172.16.254.2/24 dev vxlan1", "PRE-09,PRE-06"),
    "multicast route": ("spoke1: ip route del 224.0.0.0/4", "FAULT-03"),
}
OF_ONE_HOST = "test_one_host_answers_for_each_address"  # of PRE-09: those that are left do


@pytest.mark.parametrize("missing", MISSING)
def test_no_test_about_it_passes(tmp_path, missing):
    """Every observing test of the requirements about the object fails with a message, not with a bare exception."""
    command, requirements = MISSING[missing]
    arguments = [
        "-q",
        "-m",
        "not disruptive",
        "--tunnel=vxlan",
        f"--inject={command}",
        f"--requirements={requirements}",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    ran = plain.run(
        *(*arguments, f"--reports={tmp_path}", "-p", "no:fixtures.failures.evidence"),
        timeout=DEADLINE,
        environment=environment,
    )

    tests = json.loads((tmp_path / "conformance.json").read_text())["tests"]
    asked = {identity for test in tests for identity in test["requirements"] if test["outcome"] != "not-applicable"}
    assert asked >= set(requirements.split(",")), ran.stdout + ran.stderr
    passed = [test["id"] for test in tests if test["outcome"] == "passed"]
    assert [name for name in passed if OF_ONE_HOST not in name] == []
    failures = {test["id"]: test["reason"] for test in tests if test["outcome"] in ("failed", "not-run")}
    assert {name: reason for name, reason in failures.items() if BARE.search(reason) or not reason} == {}
