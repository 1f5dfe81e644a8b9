"""
What is printed while tests run: areas in place of a letter for each test, and each cause as soon as it is known.

    pytest [-q | -n 2 | -v], on a terminal or not
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from selftests.reports.console.findings import FINDING

pytest_plugins = ["pytester"]

IMPORTS = "import pytest\nfrom lab.errors import CheckFailed, MachineLost\n"
HOLDING = """
@pytest.mark.requirement("HUB-01")
@pytest.mark.parametrize("number", range(7))
def test_holds(number):
    if number == 6:
        pytest.skip("not here")
"""
FAILING = f"""
@pytest.mark.requirement("BCAST-01")
@pytest.mark.parametrize("number", range(5))
def test_fails(request, number):
    if number < 3:
        request.node.user_properties.append(("finding", {FINDING!r}))
    if number < 4:
        raise CheckFailed(f"spoke{{number}} missed a datagram")
"""
LACKING = """
@pytest.fixture
def host(number):
    if number:
        raise MachineLost("spoke2 was lost: its agent is gone")

@pytest.mark.requirement("MTU-01")
@pytest.mark.parametrize("number", range(4))
def test_lacks(host, number):
    pass
"""
FAILED = "tests/broadcast  4 of 5 failed: port-not-bridged, 1 unexplained"
HOLDS = "tests/hub        6 passed, 1 skipped"
CAUSE = "port-not-bridged: hub gretap2 is not a port of bridge0 (no master)"
HINT = "no known cause: spoke3 missed a datagram (tests/broadcast/test_it.py::test_fails[3])"
PROGRESS = re.compile(r"tests/\w+ .*\[ *\d+%\]$")


@pytest.fixture
def areas(suite, monkeypatch):
    """A suite of two areas: in one, four of five tests fail."""
    monkeypatch.setenv("COLUMNS", "80")
    suite.file("tests/broadcast/test_it.py", IMPORTS + FAILING)
    suite.file("tests/hub/test_it_too.py", IMPORTS + HOLDING)
    return suite


def test_what_broke_for_want_of_a_host_did_not_fail(suite):
    """Tests that a lost host ended are counted as not run, with the reason, and not as failures."""
    suite.file("tests/mtu/test_it.py", IMPORTS + LACKING)

    run = suite.run("-q")

    (line,) = [line for line in run.lines if PROGRESS.match(line)]
    assert re.sub(r" +\[ *\d+%\]$", "", line) == "tests/mtu  1 passed, 3 did not run"
    hint = "did not run: spoke2 was lost: its agent is gone (tests/mtu/test_it.py::test_lacks[1])"
    assert hint in " ".join(run.text.split())
    assert not re.search(r"\d failed|no known cause", run.text), run.text


@pytest.mark.parametrize("arguments", [(), ("-q",), ("-n", "2"), ("-n", "2", "-q")], ids=" ".join)
def test_an_area_has_one_line_when_it_has_ended(areas, arguments):
    """The line has the number of failed tests and the reason; no letters of tests, no names of their files."""
    run = areas.run(*arguments)

    progress = [line for line in run.lines if PROGRESS.match(line)]
    assert sorted(re.sub(r" +\[ *\d+%\]$", "", line) for line in progress) == [FAILED, HOLDS]
    assert sorted(line[-6:] for line in progress)[-1] == "[100%]"
    assert all(len(line) < 80 for line in progress), progress
    assert not [line for line in run.lines if re.match(r"(tests/\S+ )?[.Fs]+( |$)", line)], run.text


@pytest.mark.parametrize("arguments", [(), ("-q",), ("-n", "2"), ("-v",), ("-v", "-n", "2")], ids=" ".join)
def test_what_fails_is_known_before_its_area_ends(areas, arguments):
    """A cause is printed with the first failure that it explains; a failure without one, with its message."""
    run = areas.run(*arguments)

    end = next(number for number, line in enumerate(run.lines) if line.endswith("[100%]") or "conformance ---" in line)
    before = run.lines[:end]
    assert before.count(CAUSE) == 1
    assert HINT in re.sub(r"\n +", " ", "\n".join(before))


def test_the_words_of_v_are_those_of_pytest(areas):
    """With -v each test has its line, and no area has one."""
    run = areas.run("-v")

    assert any(re.match(r"tests/hub/test_it_too\.py::test_holds\[0\] PASSED +\[", line) for line in run.lines)
    assert not [line for line in run.lines if line.startswith((FAILED, HOLDS))]


def test_a_run_that_ends_early_reports_its_progress(areas):
    """With -x the area of the failure has its line, with how many of its tests have ended."""
    run = areas.run("-x")

    (line,) = [line for line in run.lines if PROGRESS.match(line)]
    assert line.startswith("tests/broadcast  1 of 5 ended, 1 failed: port-not-bridged")


def test_few_hints_are_printed_at_once(areas):
    """Of many failures without a known cause, three have a line while tests run; the end of the run has all."""
    areas.file("tests/broadcast/test_it.py", IMPORTS + FAILING.replace("number < 3", "False").replace("5", "9"))

    run = areas.run()

    assert sum(line.startswith("no known cause: spoke") for line in run.lines) == 3


def test_a_hint_has_its_reason_where_the_name_of_the_test_is_long(areas):
    """The reason comes first: the name, which is cut off, is in the list of failures."""
    areas.file("tests/broadcast/test_it.py", IMPORTS + FAILING.replace("test_fails", f"test_{'fails_' * 20}"))

    run = areas.run()

    assert any(line.startswith("no known cause: spoke3 missed a datagram") for line in run.lines), run.text


def test_the_list_of_failures_keeps_its_words(areas):
    """Pytest's list after the tests (-ra) has its usual words FAILED and SKIPPED."""
    run = areas.run("-ra")

    assert any(line.startswith("FAILED tests/broadcast/test_it.py::test_fails[3]") for line in run.lines)
    assert any(line.startswith("SKIPPED [1] tests/hub/test_it_too.py") for line in run.lines)


def test_on_a_terminal_one_line_is_rewritten(areas):
    """A terminal shows the progress of the running area in one line, which is replaced by the area's result."""
    output = on_a_terminal([sys.executable, *areas.command()], areas.path)

    assert "tests/hub        5 of 7 " in output
    shown = [line.rpartition("\r")[2].rstrip() for line in output.replace("\r\n", "\n").split("\n")]
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in shown]
    progress = [re.sub(r" +\[ *\d+%\]$", "", line) for line in lines if re.match(r"tests/\w+ ", line)]
    assert progress == [FAILED, HOLDS]
    assert CAUSE in lines


def on_a_terminal(command: list[str], folder: os.PathLike[str]) -> str:
    """Run a command whose output is a terminal; return all that it printed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        output = b""
        while chunk := _read(ours):
            output += chunk
    os.close(ours)
    return output.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # every process at the other end is gone
        return b""
