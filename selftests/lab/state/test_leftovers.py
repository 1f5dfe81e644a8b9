"""
A test that leaves the lab changed, seen from outside: it is reported once, and the next test has a new lab.

    pytest selftests/lab/state/leaving.py    tests that undo nothing, and that undo what was injected
"""

import os
import re
from pathlib import Path

import pytest

from selftests import plain
from selftests.lab.state.test_state import LEAKS, PORT

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 120  # seconds; a few in practice


def ran(reports, *arguments):
    """What an inner run prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    reported = f"--reports={reports}"
    done = plain.run("--tunnel=vxlan", reported, *arguments, timeout=DEADLINE, environment=environment)
    return done.stdout + done.stderr


@pytest.mark.parametrize("service", ["", "true"], ids=["terminal", "ci"])
def test_what_is_left_is_listed_once(tmp_path, monkeypatch, service):
    """Eight differences, a line each, and how many more, also in CI; the test after it does not see them."""
    monkeypatch.setenv("CI", service)

    printed = ran(tmp_path, "selftests/lab/state/leaving.py", "-k", "leaves_rules or finds_none")

    assert "2 passed" in printed
    assert "1 error" in printed
    lines = [line.strip() for line in printed.splitlines()]
    fix = "ip rule del priority {number} from all lookup 7"
    listed = [
        f"hub rule added: {number}: from all lookup 7; fix: {fix.format(number=number)}" for number in range(1, 9)
    ]
    assert [line for line in lines if line.startswith(("hub rule", "hub firewall", "and "))] == [*listed, "and 3 more"]


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What an inner run reports for each kind of leftover, by kind."""
    printed = ran(tmp_path_factory.mktemp("left"), "selftests/lab/state/leaving.py", "-k", "leaves_one", "-rs")
    sections = re.split(r"^_+ (?:ERROR at teardown of )?(\S.*?) _+$", printed, flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    return {kind: found.get(f"test_leaves_one[{kind}]", "") for kind in LEAKS}, printed


@pytest.mark.parametrize("kind", LEAKS)
def test_each_kind_of_leftover_is_named_with_its_fix(left, kind):
    """A disruptive test's leftover is one line of its failure, with the command that reverts it."""
    (sections, printed), (_, line) = left, LEAKS[kind]
    if not sections[kind] and f"cannot make: {kind}" in printed:
        pytest.skip("this kernel cannot")

    named = [one for one in sections[kind].splitlines() if words(line) in one]

    assert "the test left the lab changed" in sections[kind], printed
    assert named, sections[kind]
    assert [one for one in named if "; fix: " not in one or one.rstrip().endswith("; fix:")] == []


def words(line):
    """A line without what a lab or a kernel names itself."""
    return line.replace(PORT, "vxlan1")


def test_undoing_what_was_injected_is_none(tmp_path):
    """A test that puts a detached port back is not blamed for it; the test after it has the fault again."""
    chosen = ("selftests/lab/state/leaving.py", "-k", "puts_every or finds_the", "--inject=port-detached")

    printed = ran(tmp_path, *chosen)

    assert "2 passed" in printed
    assert "left the lab changed" not in printed


def test_an_undo_that_the_injected_fault_refuses_is_none(tmp_path):
    """A test whose undo fails because of the fault has no leftover; of another test only its own is listed."""
    chosen = ("selftests/lab/state/leaving.py", "-k", "cannot_undo", "--inject=hub: ip link del bridge0")

    printed = ran(tmp_path, *chosen)

    assert "2 passed" in printed
    assert "1 error" in printed
    assert "No such device" not in printed
    assert printed.count("the test left the lab changed") == 1
    assert "hub rule added: 9: from all lookup 7; fix: ip rule del priority 9 from all lookup 7" in printed
