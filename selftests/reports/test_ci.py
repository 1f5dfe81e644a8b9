"""
What CI services show: the summary in Markdown, annotations, Allure's files of the run, the schema of the results.

    a run --> reports/summary.md, GITHUB_STEP_SUMMARY, ::error lines, allure-results/categories.json, conformance.json
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.console import ci

pytest_plugins = ["pytester"]

SCHEMA = Path(__file__).resolve().parents[2] / "reports" / "conformance.schema.json"
GITHUB = {"GITHUB_SERVER_URL": "https://example.net", "GITHUB_REPOSITORY": "some/repository", "GITHUB_RUN_ID": "7"}

CAUSE = """
@pytest.mark.requirement("BCAST-01")
def test_lost(request):
    cell = {"network": "overlay", "kind": "broadcast", "sender": "hub", "receiver": "spoke1", "delivered": False}
    request.node.user_properties.append(("delivery", cell))
    request.node.user_properties.append(("finding", {
        "code": "port-not-bridged", "node": "hub", "interface": "gretap1", "host": "", "note": False,
        "summary": "hub gretap1 is not a port of bridge0 <b>|\\n::error::forged", "evidence": "its master is none",
        "remedy": "ip link set gretap1 master bridge0"}))
    raise CheckFailed("spoke1 did not receive hub's broadcast (port-not-bridged)")
"""


@pytest.fixture
def on_github(suite, monkeypatch) -> Path:
    """The environment of a job on GitHub; returns the file that its page shows."""
    page = suite.path / "step.md"
    page.write_text("# of an earlier step\n", encoding="utf-8")
    for name, value in {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page), **GITHUB}.items():
        monkeypatch.setenv(name, value)
    return page


def test_the_summary_names_the_cause_and_its_fix(suite):
    """The summary has verdict, cause, fix and matrix; markup in a text is shown as text."""
    suite.except_for("BCAST-01", tests=CAUSE)

    summary = (suite.run().reports / "summary.md").read_text(encoding="utf-8")

    assert summary.startswith("# nonconformant\n")
    assert r"**hub gretap1 is not a port of bridge0 \<b\>\| ::error::forged**" in summary
    assert "fix (hub): <code>ip link set gretap1 master bridge0</code>" in summary
    assert "| hub |  |   |  | ✗ |  |   |\n" in summary
    assert "| Broadcast | 6 of 7 | 1 of 1 |" in summary


def test_github_shows_summary_and_causes(suite, on_github):
    """On GitHub the summary is added to the job's page, and each cause is one annotation that begins no other."""
    suite.except_for("BCAST-01", tests=CAUSE)

    run = suite.run()

    added = on_github.read_text(encoding="utf-8").removeprefix("# of an earlier step\n")
    assert added == (run.reports / "summary.md").read_text(encoding="utf-8")
    (line,) = [line for line in run.lines if line.startswith("::")]
    assert line == (
        "::error title=port-not-bridged::hub gretap1 is not a port of bridge0 <b>|%0A::error::forged"
        "%0Afix (hub): ip link set gretap1 master bridge0"
    )


def test_elsewhere_nothing_is_annotated():
    """Without GITHUB_ACTIONS no line of GitHub's commands is printed."""
    finding = {"code": "mtu", "node": "hub", "summary": "x", "remedy": ""}

    assert list(ci.error_lines({}, [finding])) == []
    assert list(ci.error_lines({"GITHUB_ACTIONS": "true"}, [finding])) == ["::error title=mtu::x"]


def test_allure_groups_failures_by_cause_and_links_the_job(suite, on_github):
    """Allure's results have a category for each finding's code, and the job that ran the tests."""
    suite.except_for("BCAST-01", tests=CAUSE)

    folder = suite.run_apart().reports / "allure-results"

    (category,) = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
    assert category["name"] == "port-not-bridged"
    executor = json.loads((folder / "executor.json").read_text(encoding="utf-8"))
    assert executor["buildUrl"] == "https://example.net/some/repository/actions/runs/7"


@pytest.mark.parametrize("tests", ["", CAUSE], ids=["conformant", "nonconformant"])
def test_results_follow_the_published_schema(suite, tests):
    """conformance.json matches its schema; a key that the schema does not have is rejected."""
    suite.except_for(*(["BCAST-01"] if tests else []), tests=tests)
    jsonschema = pytest.importorskip(
        "jsonschema", reason="no jsonschema\n  fix: .venv/bin/pip install --require-hashes -r requirements-dev.lock"
    )
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))

    result = suite.run().result

    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(result)] == []
    assert not validator.is_valid({**result, "new": 1})
    assert [error.message for error in validator.iter_errors(suite.run("--baseline=reports").result)] == []
