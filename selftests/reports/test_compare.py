"""
Two runs compared: `python -m reports compare BEFORE AFTER`.

    before: conformant        after: BCAST-01 does not hold, a cause, a delivery lost, a figure ten times as large
"""

from __future__ import annotations

import pytest

from reports import __main__ as command
from reports.verdict import compare
from reports.verdict.environment import command as command_line

pytest_plugins = ["pytester"]

CELL = {"network": "overlay", "kind": "broadcast", "sender": "hub", "receiver": "spoke1", "expected": True}
OWN = """
GOOD, CELL = {good}, {cell}

@pytest.mark.requirement("BCAST-01")
def test_own(request):
    def note(name, entry):
        request.node.user_properties.append((name, entry))

    note("delivery", CELL | dict(delivered=GOOD))
    for value in (1.0, 1.2) if GOOD else (10.0, 11.0):
        note("figure", dict(name="round trip", value=value, unit="ms"))
        note("figure", dict(name="the same", value=3.0, unit="ms"))
    if not GOOD:
        note("finding", dict(code="port-not-bridged", node="hub", interface="gretap1", host="", note=False,
                             summary="hub gretap1 is not a port", evidence="", remedy=""))
        raise CheckFailed("lost")
"""


@pytest.fixture
def results(suite):
    """The folders of a good and of a bad run."""
    folders = {}
    for name, good in {"good": True, "bad": False}.items():
        suite.except_for("BCAST-01", tests=OWN.format(good=good, cell=CELL))
        folders[name] = suite.path / name
        suite.run(f"--reports={folders[name]}")
    return folders


def test_what_turned_red_is_listed_with_its_cause(results, capsys):
    """A requirement, a cause, a delivery and a figure that changed are listed; what did not change is not."""
    status = command.main(["compare", str(results["good"]), str(results["bad"])])

    text = capsys.readouterr().out
    assert status == 1
    assert text.startswith("verdict: conformant -> nonconformant\n")
    assert "turned red\n    BCAST-01 (MUST): " in text
    assert "new causes\n    port-not-bridged: hub gretap1 is not a port" in text
    assert "broadcast on the overlay from hub to spoke1: delivered -> wrong" in text
    assert "round trip: 1.1 -> 10.5 ms" in text
    assert "the same" not in text
    assert "turned green" not in text


def test_the_way_back_is_green(results, capsys):
    """What holds again is listed as such, also in Markdown, with status 0."""
    status = command.main(["compare", "--markdown", str(results["bad"]), str(results["good"])])

    text = capsys.readouterr().out
    assert status == 0
    assert "## turned green\n\n- `BCAST-01 (MUST): " in text
    assert "## causes gone\n\n- `port-not-bridged: " in text


def test_equal_runs_have_no_difference(results, capsys):
    """A run compared with itself changes nothing."""
    assert command.main(["compare", str(results["bad"]), str(results["bad"] / "conformance.json")]) == 0
    assert "no requirement, cause, delivery or figure changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not JSON; expected the conformance.json of a run"),
        ('{"schema": 99}', "has the schema 99; expected the conformance.json of a run, which has the schema 1"),
        ("[]", "has no schema; expected the conformance.json of a run"),
    ],
)
def test_what_is_no_result_is_one_message(tmp_path, content, message, capsys):
    """A file that is not a result of this version is rejected, with the expected kind."""
    if content is not None:
        (tmp_path / "conformance.json").write_text(content, encoding="utf-8")

    assert command.main(["compare", str(tmp_path), str(tmp_path)]) == command.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("earlier", "later", "differ"), [([1, 2], [2, 3], False), ([1, 1.1], [1.15], False), ([1], [2], True)]
)
def test_figures_within_their_spread_are_equal(earlier, later, differ):
    """Two series of a figure differ when their ranges lie apart by more than a fifth."""
    figures = [[{"name": "a", "unit": "s", "value": value} for value in values] for values in (earlier, later)]
    before, after = ({"figures": one} for one in figures)

    assert bool(list(compare._figures(before, after))) is differ


def test_the_command_line_has_no_secret():
    """Passwords in hosts and the places of keys are left out of the command line that results show."""
    given = [
        "--hosts=ssh://opc:secret@hub?sudo=true,opc:secret@b,c:22,ssh://d@[2001:db8::1]:22",
        "--ssh-config=/secret",
    ]

    shown = command_line([*given, "--ssh-identity-file", "/secret/key", "-k", "bcast"])

    assert "secret" not in shown
    assert "opc:[removed]@hub" in shown
    assert "opc:[removed]@b" in shown
    assert "c:22,ssh://d@[2001:db8::1]:22" in shown
    assert shown.endswith("--ssh-identity-file [removed] -k bcast")


def test_a_run_ends_with_what_changed_since_a_baseline(results, suite):
    """With --baseline the run prints what is new, above causes and verdict; page and conformance.json have it."""
    run = suite.run(f"--baseline={results['good'] / 'conformance.json'}")

    head = next(number for number, line in enumerate(run.lines) if line.startswith("since "))
    assert run.lines[head].startswith(f"since {results['good']}/conformance.json (conformant, 20")
    output = run.lines[head + 1 :]
    assert "  turned red: BCAST-01" in output
    assert "  new causes: port-not-bridged: hub gretap1 is not a port" in output
    assert not [line for line in output if line.startswith(("  turned green", "  causes gone", "  still red"))]
    assert run.last.startswith("verdict: nonconformant")
    assert run.result["baseline"]["verdict"] == "conformant"
    page = (run.reports / "index.html").read_text(encoding="utf-8")
    assert "<h3>turned red</h3>" in page
    assert page.index("<h2>Since ") < page.index("<h2>Every requirement")


def test_what_still_fails_is_named(results, suite):
    """A requirement that failed before and fails again is still red, and not new; the cause is known."""
    run = suite.run(f"--baseline={results['bad']}")

    output = run.text[run.text.index("since ") :]
    assert "  still red: BCAST-01" in output
    assert "new causes" not in output
    assert "turned red" not in output


def test_the_last_run_can_be_the_baseline(results, suite):
    """The results that a run replaces are read before: nothing changed."""
    suite.except_for(tests=OWN.format(good=True, cell=CELL))
    suite.run()

    run = suite.run("--baseline=reports")

    assert any(
        line.startswith("since reports (conformant, ") and line.endswith("nothing changed") for line in run.lines
    )


def test_a_baseline_that_is_none_ends_the_run(results, suite):
    """A file that is not there is a usage error with one message, before any test runs."""
    run = suite.run("--baseline=nowhere.json")

    assert run.status == 4
    assert "--baseline: " in run.text
    assert "cannot be read: No such file or directory" in run.text
