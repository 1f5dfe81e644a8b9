"""
What is printed at the end of a run, and where its facts come from.

    tests ── deliveries ── matrix ── lines ── terminal (UTF-8 or ASCII, wide or narrow)
"""

from __future__ import annotations

import re

import pytest

from lab.requirements import AREAS, CATALOGUE, ON_DEMAND, SCOPE, in_order, scope
from reports.console import terminal
from reports.verdict.conformance import Outcome, RecordedTest, Selection, judge
from reports.verdict.deliveries import KINDS, Delivery, matrices
from reports.verdict.environment import merged
from selftests.reports.conftest import ROOT
from selftests.reports.counts import MUST

pytest_plugins = ["pytester"]

DELIVERIES = """
def delivery(network, kind, sender, receiver, delivered, expected=True):
    return ("delivery", {"network": network, "kind": kind, "sender": sender, "receiver": receiver,
                         "delivered": delivered, "expected": expected})

@pytest.mark.requirement("BCAST-01")
@pytest.mark.parametrize("sender", ["hub", "spoke1", "spoke2"])
def test_delivers(sender, request):
    for receiver in {"hub", "spoke1", "spoke2"} - {sender}:
        for kind in ("unicast", "broadcast", "multicast"):
            lost = kind == "multicast" and (sender, receiver) == ("spoke1", "spoke2")
            request.node.user_properties.append(delivery("overlay", kind, sender, receiver, not lost))
            alive = kind == "unicast"
            request.node.user_properties.append(delivery("underlay", kind, sender, receiver, alive, alive))
"""

DRAWN = """\
  underlay   unicast             broadcast           multicast
  from / to  hub spoke1 spoke2   hub spoke1 spoke2   hub spoke1 spoke2
  hub              ✓      ✓            ·      ·            ·      ·
  spoke1      ✓           ✓       ·           ·       ·           ·
  spoke2      ✓    ✓              ·    ·              ·    ·

  overlay    unicast             broadcast           multicast
  from / to  hub spoke1 spoke2   hub spoke1 spoke2   hub spoke1 spoke2
  hub              ✓      ✓            ✓      ✓            ✓      ✓
  spoke1      ✓           ✓       ✓           ✓       ✓           ✗
  spoke2      ✓    ✓              ✓    ✓              ✓    ✓
  ✓ delivered   ✗ not as expected   · not delivered, as expected"""

ENVIRONMENT = """
import pytest

def pytest_addoption(parser):
    for name, default in (("tunnel", "gretap"), ("topology", "star"), ("provider", "oci")):
        parser.addoption(f"--{name}", default=default)

@pytest.hookimpl(optionalhook=True)
def pytest_overcast_environment(config):
    return {"machine": "guest", "kernel": "6.1.176"}
"""


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_matrix_is_drawn(suite, processes):
    """The deliveries of all workers are drawn as one matrix for each network."""
    suite.except_for(tests=DELIVERIES)

    run = suite.run(*processes)

    assert DRAWN in run.text
    assert {"network": "overlay", "kind": "multicast", "sender": "spoke1", "receiver": "spoke2", "mark": "wrong"} in (
        run.result["deliveries"]
    )
    assert run.status == 0, "the matrix shows, the tests judge"


def test_the_matrix_in_ascii(suite, monkeypatch):
    """A stream that cannot carry the signs gets plain ones, and no escapes."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    suite.except_for(tests=DELIVERIES)

    run = suite.run_apart()

    assert "  spoke1      +           +       +           +       +           x" in run.lines
    assert "\\u" not in run.text


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_last_line_names_the_place(suite, processes):
    """The last line names tunnel, topology, provider, machine and kernel, wherever the tests ran."""
    suite.file("conftest.py", ENVIRONMENT)
    suite.except_for()

    run = suite.run(*processes)

    assert run.last == (
        f"verdict: conformant - {MUST} of {MUST} MUST requirements hold (gretap, star, oci; guest kernel 6.1.176)"
    )
    assert run.result["environment"].items() >= {"machine": "guest", "tunnel": "gretap"}.items()
    assert {"python", "pytest", "host_kernel"} <= set(run.result["environment"])


def test_results_carry_the_version(suite):
    """conformance.json, the page, Allure's environment and the header have the version of pyproject.toml."""
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    suite.except_for()

    run = suite.run_apart()

    assert f"overcast: version {version}" in run.lines
    assert run.result["environment"]["overcast"] == version
    assert f"<dt>overcast</dt><dd>{version}</dd>" in (run.reports / "index.html").read_text(encoding="utf-8")
    assert f"overcast={version}\n" in (run.reports / "allure-results/environment.properties").read_text(
        encoding="utf-8"
    )
    assert suite.run_apart("--version", "--version").lines[0] == f"Overcast {version}"


def test_findings_are_kept_once(suite):
    """A finding that two tests met is reported once, with the requirements of both."""
    suite.except_for(
        tests="""
FINDING = ("finding", {"code": "port-not-bridged", "node": "hub", "interface": "gretap2", "summary": "not a port"})

def met(request):
    request.node.user_properties.append(FINDING)
    assert 0

@pytest.mark.requirement("HUB-02")
def test_hub(request): met(request)

@pytest.mark.requirement("BCAST-01")
def test_broadcast(request): met(request)
"""
    )

    run = suite.run("-n", "2")

    assert [(one["code"], one["requirements"]) for one in run.result["findings"]] == [
        ("port-not-bridged", ["BCAST-01", "HUB-02"])
    ]


def test_quiet_runs_keep_the_verdict(suite):
    """With -q the verdict is all that is added."""
    suite.except_for()

    run = suite.run("-q")

    assert run.last.startswith("verdict: conformant")
    assert "requirements  " not in run.text


def test_one_wrong_observation_outweighs_right_ones():
    """A cell is wrong as soon as one delivery in it was wrong; an expected result of a disruptive test is right."""
    right = Delivery("broadcast", "spoke1", "spoke2", "overlay", delivered=True, expected=True)
    provoked = Delivery("broadcast", "spoke1", "spoke2", "overlay", delivered=False, expected=False)
    wrong = Delivery("broadcast", "spoke1", "spoke2", "overlay", delivered=True, expected=False)

    assert matrices([provoked, right])[0].mark("broadcast", "spoke1", "spoke2") == "delivered"
    assert matrices([provoked, right, wrong])[0].mark("broadcast", "spoke1", "spoke2") == "wrong"
    assert matrices([provoked])[0].mark("broadcast", "spoke1", "spoke2") == "silent"
    assert matrices([provoked])[0].mark("unicast", "spoke1", "spoke2") == "untested"


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("spokes", [2, 10, 250])
def test_the_matrix_fits_the_terminal(width, spokes):
    """However many nodes there are, no line is wider than the terminal."""
    nodes = ["hub", *(f"spoke{number}" for number in range(1, spokes + 1))]
    seen = [
        Delivery(kind, sender, receiver, "overlay", delivered=True, expected=True)
        for kind in KINDS
        for sender in nodes
        for receiver in nodes[:12]
        if sender != receiver
    ]

    lines = terminal.delivery_lines(matrices(seen), width)

    assert max(len(line.text) for line in lines) <= width
    assert [table.nodes for table in matrices(seen)] == [tuple(nodes)]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_of_areas_fits_the_terminal(width):
    """Where requirements fail, did not run and do not apply, each has its column and no line is too wide."""
    ids = list(CATALOGUE)
    outcomes: list[Outcome] = ["failed", "not-run", "not-applicable", "passed"]
    trials = [RecordedTest(one, (one,), outcomes[number % 4]) for number, one in enumerate(ids)]

    lines = terminal.area_lines(judge(trials, Selection({one: (one,) for one in ids})), width)

    assert max(len(line.text) for line in lines) <= width
    assert [line.text.split() for line in lines][1] == ["requirements", "MUST", "SHOULD", "failed", "not", "run", "n/a"]
    (underlay,) = [line.text.split() for line in lines if "UNDER" in line.text]
    of_it = [trial.outcome for trial in trials if trial.nodeid.startswith("UNDER")]
    assert underlay[-3:] == [str(of_it.count(outcome)) for outcome in outcomes[:3]]


def test_ids_are_written_briefly():
    """Three neighbours or more become a range; ranges do not cross areas."""
    assert terminal.compact(["BCAST-03", "BCAST-01", "BCAST-02"]) == "BCAST-01..03"
    assert terminal.compact(["BCAST-01", "BCAST-02"]) == "BCAST-01, BCAST-02"
    assert terminal.compact(["UNDER-08", "UNDER-09", "PRE-01"]) == "UNDER-08, UNDER-09, PRE-01"


def test_workers_that_saw_different_things():
    """Facts on which workers disagree are all named."""
    assert merged([{"kernel": "6.1"}, {"kernel": "6.1"}, {"kernel": "6.6", "machine": "ssh"}]) == {
        "kernel": "6.1, 6.6",
        "machine": "ssh",
    }


def test_the_catalogue_is_in_order():
    """Every requirement belongs to a known area, has a text and a source; ids are sorted within their area."""
    assert (
        set(SCOPE) | set(ON_DEMAND)
        == set(AREAS)
        == set(scope(lambda option: "aws-tgw" if option == "provider" else True))
    )
    assert scope(lambda option: False) == SCOPE
    assert [one.area for one in CATALOGUE.values()] == sorted(
        (one.area for one in CATALOGUE.values()), key=list(AREAS).index
    )
    for identity, one in CATALOGUE.items():
        assert one.id == identity
        assert one.level in ("MUST", "SHOULD")
        assert one.statement.endswith(".")
        assert one.source
    assert in_order(["TTL-01", "UNDER-01", "TTL-01"]) == ["UNDER-01", "TTL-01"]
