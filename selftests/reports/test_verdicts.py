"""
What a run comes to: the verdict, the exit status and the reasons, in one process and in several.

    tests ── reports ── recorder ── judge ── verdict, exit status, conformance.json, last line
"""

from __future__ import annotations

import pytest

from reports.verdict.conformance import INTERRUPTED, Selection, judge
from selftests.reports.counts import MUST, SHOULD, musts

pytest_plugins = ["pytester"]

both_ways = pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])

MISSING = """
from fixtures.requirements import not_run

@pytest.mark.requirement("WIRE-01", "WIRE-02")
def test_wire():
    not_run("this kernel has no gretap", "./overcast --kernel=guest")
"""


@both_ways
def test_everything_passes(suite, processes):
    """A run in which every MUST holds is conformant and exits with 0."""
    suite.except_for()

    run = suite.run(*processes)

    assert run.last == f"verdict: conformant - {MUST} of {MUST} MUST requirements hold"
    assert run.status == 0
    assert run.result["schema"] == 1
    assert run.result["counts"]["MUST"] == {"passed": MUST, "failed": 0, "not_run": 0, "not_applicable": 0}
    assert run.requirement("BCAST-01")["tests"] == ["tests/test_rest.py::test_holds[BCAST-01]"]
    assert run.written == ["conformance.json", "index.html", "junit.xml", "summary.md"]


@both_ways
def test_a_must_fails(suite, processes):
    """One failing test of several makes its MUST fail, and the run nonconformant."""
    suite.except_for(
        tests="""
@pytest.mark.requirement("BCAST-01")
def test_reaches(): raise CheckFailed("spoke2 heard nothing", remedy="ip link set gretap2 master bridge0")
"""
    )

    run = suite.run(*processes)

    held = f"{MUST - 1} of {MUST} MUST requirements hold"
    assert run.last == f"verdict: nonconformant - {held}, 1 does not (no known cause)"
    assert run.status == 1
    failed = run.requirement("BCAST-01")
    assert (failed["outcome"], failed["reason"]) == ("failed", "spoke2 heard nothing")
    assert failed["remedy"] == "ip link set gretap2 master bridge0"
    assert len(failed["tests"]) == 2


@both_ways
def test_a_must_lacks_something(suite, processes):
    """A MUST that was skipped for a missing prerequisite makes the run incomplete, and the run names the fix."""
    suite.except_for("WIRE-01", "WIRE-02", tests=MISSING)

    run = suite.run(*processes)

    assert run.last == f"verdict: incomplete - {MUST - 2} of {MUST} MUST requirements hold, 2 did not run"
    assert run.status == 10
    assert run.requirement("WIRE-02")["outcome"] == "not-run"
    assert run.lines[-4:-1] == [
        "did not run: WIRE-01, WIRE-02",
        "    this kernel has no gretap",
        "    fix: ./overcast --kernel=guest",
    ]


def test_one_skip_outweighs_the_passes_of_others(suite):
    """A requirement is not shown as long as one of its tests lacks something."""
    suite.except_for(tests=MISSING)

    run = suite.run()

    assert run.requirement("WIRE-01")["outcome"] == "not-run"
    assert run.status == 10


@both_ways
def test_setup_breaks(suite, processes):
    """A test whose lab cannot be set up proves nothing about its requirement: not run, not failed."""
    suite.except_for(
        "HUB-01",
        tests="""
@pytest.fixture
def lab(): raise EnvironmentProblem("no agent answers", remedy="./overcast doctor")

@pytest.mark.requirement("HUB-01")
def test_hub(lab): pass
""",
    )

    run = suite.run(*processes)

    assert run.last == f"verdict: incomplete - {MUST - 1} of {MUST} MUST requirements hold, 1 did not run"
    assert run.status == 1, "pytest counts the error itself"
    broken = run.requirement("HUB-01")
    assert (broken["outcome"], broken["reason"]) == ("not-run", "no agent answers")
    assert broken["remedy"] == "./overcast doctor"


@both_ways
def test_what_does_not_apply_does_not_count(suite, processes):
    """A requirement that a test or a marker declares inapplicable to this lab does not affect the verdict."""
    suite.file(
        "conftest.py", "def pytest_addoption(parser): parser.addoption('--tunnel', dest='tunnel', default='gretap')\n"
    )
    suite.except_for(
        "WIRE-01",
        "WIRE-07",
        tests="""
from fixtures.requirements import not_applicable

@pytest.mark.requirement("WIRE-01")
def test_header(): not_applicable("VXLAN has no GRE header")

@pytest.mark.requirement("WIRE-07")
@pytest.mark.tunnel("gretap")
def test_key(): raise AssertionError("must not run")
""",
    )

    run = suite.run("--tunnel=vxlan", *processes)

    assert run.last.startswith(
        f"verdict: conformant - {MUST - 2} of {MUST - 2} MUST requirements hold, 2 more do not apply (vxlan"
    )
    assert run.status == 0
    assert run.requirement("WIRE-01")["reason"] == "VXLAN has no GRE header"
    assert run.requirement("WIRE-07")["reason"] == "is about gretap; this overlay is vxlan"


def test_a_should_fails(suite):
    """A failing SHOULD leaves the run conformant; pytest's own status stays."""
    suite.except_for("HUB-08", tests='@pytest.mark.requirement("HUB-08")\ndef test_hub(): assert 0\n')

    run = suite.run()

    assert run.last == (
        f"verdict: conformant - {MUST} of {MUST} MUST requirements hold;"
        f" 1 of {SHOULD} SHOULD requirements does not hold"
    )
    assert "no known cause: 1 test failure (HUB-08)" in run.lines
    assert run.status == 1


OF_PROGRAMS = musts("APP")
APPLICATIONS = f"""
from fixtures.requirements import not_run

@pytest.mark.requirement(*{OF_PROGRAMS!r})
def test_of_programs():
    not_run("dnsmasq is not installed", "sudo apt-get install dnsmasq-base")
"""


@both_ways
def test_applications_without_the_option(suite, processes):
    """Without --applications the tests of programs are omitted, and do not count for the verdict."""
    suite.except_for(tests=APPLICATIONS)

    run = suite.run(*processes)

    assert run.last == f"verdict: conformant - {MUST} of {MUST} MUST requirements hold"
    assert run.status == 0
    assert "APP" not in run.result["scope"]
    assert not [one for one in run.result["requirements"] if one["id"].startswith("APP")]
    assert "not selected (--applications)" in run.text


@both_ways
def test_applications_with_the_option(suite, processes):
    """With --applications they count like any other: a program that is missing makes the run incomplete."""
    suite.except_for(tests=APPLICATIONS)

    run = suite.run("--applications", *processes)

    assert run.last == (
        f"verdict: incomplete - {MUST} of {MUST + len(OF_PROGRAMS)} MUST requirements hold,"
        f" {len(OF_PROGRAMS)} did not run"
    )
    assert run.status == 10
    assert "APP" in run.result["scope"]
    assert run.requirement("APP-01")["remedy"] == "sudo apt-get install dnsmasq-base"


@pytest.mark.parametrize(
    ("selection", "ran"),
    [
        (("-k", "BCAST"), len(musts("BCAST"))),
        (("-m", "not slow"), MUST),
        (("tests/test_own.py",), 1),
        (("-k", "nothing_like_it"), 0),
    ],
    ids=["by word", "by mark", "by path", "to nothing"],
)
def test_a_narrowed_run_is_incomplete(suite, selection, ran):
    """A run narrowed by the user never proves conformance, and reports in one line how much of it ran."""
    suite.except_for(
        tests="""
@pytest.mark.requirement("BCAST-01")
def test_BCAST(): pass

@pytest.mark.slow
@pytest.mark.requirement("HUB-08")
def test_slow(): pass
"""
    )
    suite.file(
        "pytest.ini",
        "[pytest]\ntestpaths = tests\nmarkers =\n    slow: takes long\n    requirement(id): what a test asserts\n",
    )

    run = suite.run(*selection)

    held = f"{ran} of {ran} selected MUST requirements {'holds' if ran == 1 else 'hold'}; " if ran else ""
    assert run.last == f"verdict: incomplete - {held}the selected tests cover {ran} of {MUST} MUST requirements"
    assert run.status == 10


def test_a_part_of_its_tests_does_not_show_a_requirement(suite):
    """A requirement whose other tests were left out by the selection counts as not run."""
    suite.except_for(tests='@pytest.mark.requirement("BCAST-01")\ndef test_other(): pass\n')

    run = suite.run("-k", "test_holds", "-n", "2")

    assert run.requirement("BCAST-01")["outcome"] == "not-run"
    assert run.requirement("BCAST-01")["reason"] == "left out by the selection: 1 of its 2 tests"
    assert run.requirement("BCAST-01")["remedy"] == "the whole suite: pytest without -k"
    assert run.requirement("BCAST-02")["outcome"] == "passed"


def test_last_failed_alone_is_narrowed(suite):
    """The second of two runs, with --lf, reports that it was narrowed though all its tests passed."""
    suite.except_for(tests='@pytest.mark.requirement("BCAST-01")\ndef test_own(): assert os.path.exists("fixed")\n')
    assert suite.run().status == 1
    suite.file("fixed", "")

    run = suite.run("--lf")

    assert run.last == (
        "verdict: incomplete - 1 of 1 selected MUST requirements holds;"
        f" the selected tests cover 1 of {MUST} MUST requirements"
    )
    assert run.status == 10


def test_stopping_at_the_first_failure(suite):
    """What -x kept from running did not run; it did not pass."""
    suite.except_for(tests='@pytest.mark.requirement("BCAST-01")\ndef test_own(): assert 0\n')

    run = suite.run("-x")

    assert run.status == 1
    assert run.last == (
        f"verdict: nonconformant - 0 of {MUST} MUST requirements hold, 1 does not (no known cause),"
        f" {MUST - 1} did not run"
    )
    assert run.requirement("HUB-01")["reason"] == "the run ended before its turn (stopping after 1 failures)"
    assert run.requirement("HUB-01")["remedy"] == "run it again without -x"


def test_interrupted(suite):
    """After Ctrl-C there is still a verdict, which claims nothing for tests that did not run."""
    suite.except_for(tests='@pytest.mark.requirement("BCAST-01")\ndef test_own(): raise KeyboardInterrupt\n')

    run = suite.run_apart()

    assert run.status == 2
    assert run.last == f"verdict: incomplete (interrupted) - 0 of {MUST} MUST requirements hold, {MUST} did not run"


def test_interrupted_after_a_failure(suite):
    """Failures before Ctrl-C are in the verdict line, but the verdict is not about all of the suite."""
    suite.except_for(
        "BCAST-01",
        "BCAST-02",
        tests="""
@pytest.mark.requirement("BCAST-01")
def test_own(): assert 0
@pytest.mark.requirement("BCAST-02")
def test_other(): raise KeyboardInterrupt
""",
    )

    run = suite.run_apart()

    assert run.status == 2
    assert run.last == (
        f"verdict: incomplete (interrupted) - 0 of {MUST} MUST requirements hold, 1 does not (no known cause),"
        f" {MUST - 1} did not run"
    )


def test_a_worker_dies(suite):
    """A test during which its worker died did not run, and the run names the command to run it alone."""
    suite.except_for("MCAST-01", tests='@pytest.mark.requirement("MCAST-01")\ndef test_own(): os._exit(1)\n')

    run = suite.run("-n", "2")

    died = run.requirement("MCAST-01")
    assert (died["outcome"], died["reason"]) == ("not-run", "the worker died while it ran")
    assert died["remedy"] == "pytest -n 0 'tests/test_own.py::test_own'"
    assert run.result["verdict"] == "incomplete"
    assert run.status == 1


def test_a_requirement_without_any_test(suite):
    """A MUST that no test asserts makes a full run incomplete."""
    suite.except_for("TTL-01")

    run = suite.run()

    assert run.last == f"verdict: incomplete - {MUST - 1} of {MUST} MUST requirements hold, 1 did not run"
    assert run.requirement("TTL-01")["reason"] == "no test asserts it"


@both_ways
def test_a_file_that_cannot_be_collected(suite, processes):
    """The results of a broken test file are unknown: the run is incomplete though all the rest passes."""
    suite.except_for()
    suite.file("tests/test_broken.py", "import nothing_like_it\n")

    run = suite.run("--continue-on-collection-errors", *processes)

    assert run.result["verdict"] == "incomplete"
    assert run.last.startswith("verdict: incomplete - 1 test file could not be collected")
    assert run.status != 0


def test_a_teardown_that_complains(suite):
    """A test with a leftover is named with the verdict; its result still counts."""
    suite.except_for(
        tests="""
@pytest.fixture
def lab():
    yield
    raise EnvironmentProblem("namespace hub is still there")

@pytest.mark.requirement("BCAST-01")
def test_own(lab): pass
"""
    )

    run = suite.run()

    assert run.last == f"verdict: conformant - {MUST} of {MUST} MUST requirements hold; 1 test did not undo a change"
    assert "    tests/test_own.py::test_own: namespace hub is still there" in run.lines
    assert run.status == 1


def test_an_expected_failure_is_a_failure(suite):
    """A test that is known to fail does not show its requirement, whatever pytest's status is."""
    suite.except_for(tests='@pytest.mark.xfail\n@pytest.mark.requirement("BCAST-01")\ndef test_own(): assert 0\n')

    run = suite.run()

    assert run.result["verdict"] == "nonconformant"
    assert run.status == 1


def test_interrupted_while_tests_are_collected():
    """A requirement whose tests were not collected yet is not reported as one without tests."""
    judged = judge((), Selection(interrupted=True, stopped=INTERRUPTED)).requirements

    assert {one.reason for one in judged} == {"the run ended before its turn (interrupted)"}
    assert all(one.of_the_run for one in judged)
