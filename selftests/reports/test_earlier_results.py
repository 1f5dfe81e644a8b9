"""
A run replaces the results of an earlier one in the same folder; one that ends before its first test does not.

    reports/  conformance.json  index.html  summary.md  junit.xml  diagnosis.jsonl.gz  captures/  allure-results/
"""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

OWN = """
import os, pytest

@pytest.mark.requirement("BCAST-01")
def test_own(): assert os.environ.get("BROKEN") is None
"""

UNBUILDABLE = """
import os
import pytest

pytest_plugins = ["fixtures.interrupts", "reports.allure.evidence"]

@pytest.fixture(autouse=True)
def lab():
    if "UNBUILDABLE" in os.environ:
        pytest.exit("the lab cannot be built", 4)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.ihook.pytest_overcast_evidence(item=item, attachments={"frames": os.environ["BROKEN"].encode()})
    return report
"""

CONSTANT = [f"allure-results/{name}" for name in ("categories.json", "environment.properties")]

ENDS = [("tests/nosuch.py",), ("--requirements=BCAST-99",), ("--nosuch",), ("--baseline=nosuch",), ("-k", "(")]


@pytest.fixture
def results(suite, monkeypatch):
    """Return what is in the folder of results after a run with a failed test, as it is at each call."""
    suite.file("conftest.py", UNBUILDABLE)
    suite.file("tests/test_own.py", OWN)
    monkeypatch.setenv("BROKEN", "frames of the first run")
    folder = suite.run_apart().reports
    monkeypatch.delenv("BROKEN")

    def read():
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    names = {name.partition("/")[0] for name in read()}
    assert names >= {"conformance.json", "index.html", "summary.md", "junit.xml", "captures", "allure-results"}
    return read


def test_a_usage_error_leaves_them(suite, results):
    """A run that is rejected leaves the results of an earlier run as they were."""
    before = results()

    for arguments in ENDS:
        run = suite.run_apart(*arguments)

        assert run.status == 4, run.text
        assert results() == before, arguments


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_lab_that_cannot_be_built_leaves_them(suite, results, monkeypatch, processes):
    """A run that ends while its first test is set up leaves the results of an earlier run as they were."""
    monkeypatch.setenv("UNBUILDABLE", "1")
    before = results()

    run = suite.run_apart(*processes)

    assert run.status == 4, run.text
    assert results() == before


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_run_replaces_them(suite, results, monkeypatch, processes):
    """After a run, nothing of the earlier one is left; the captures of a test are those of the later run."""
    before = results()
    monkeypatch.setenv("BROKEN", "frames of the second run")

    suite.run_apart(*processes)

    after = results()
    assert [name for name in before if after.get(name) == before[name] and name not in CONSTANT] == []
    assert {content for name, content in after.items() if "captures/" in name} == {b"frames of the second run"}
    assert {name for name in before if "result.json" in name}.isdisjoint(after)


def test_a_run_without_failures_leaves_no_captures(suite, results):
    """The captures of an earlier run are removed."""
    suite.run_apart()

    assert not any("captures/" in name for name in results())
