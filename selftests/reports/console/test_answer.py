"""
The end of a run is its answer: causes with their fixes, what has no known cause, the verdict, and nothing after it.

    pytest [-q | -v | --tb=long | -n 2 | ...] --> the same last lines
"""

from __future__ import annotations

import pytest

from selftests.reports.console.findings import FINDING
from selftests.reports.counts import MUST, SHOULD

pytest_plugins = ["pytester"]

MANY = 90
OF_ONE_CAUSE = f"""
@pytest.mark.requirement("BCAST-01", "HUB-02", "HUB-03")
@pytest.mark.parametrize("number", range({MANY}))
def test_delivers(request, number):
    request.node.user_properties.append(("finding", {FINDING!r}))
    raise CheckFailed(f"spoke2 missed datagram {{number}}")
"""
UNEXPLAINED = """
@pytest.mark.requirement("HUB-08")
def test_has_a_reason_of_its_own(): raise CheckFailed("spoke1 received 2 copies", remedy="bridge link")
"""
CAUSE = [
    "port-not-bridged: hub gretap2 is not a port of bridge0 (no master)",
    "    broadcast from spoke1 reached hub gretap1 and was not forwarded",
    "    fix (hub): ip link set gretap2 master bridge0",
    f"    caused {MANY} test failures (BCAST-01, HUB-02, HUB-03)",
]
NO_CAUSE = [
    "no known cause: 1 test failure (HUB-08)",
    "    tests/test_own.py::test_has_a_reason_of_its_own: spoke1 received 2 copies",
    "    fix: bridge link",
]
VERDICT = f"verdict: nonconformant - {MUST - 3} of {MUST} MUST requirements hold, 3 do not (1 cause"

MODES = ((), ("-q",), ("-qq",), ("-v",), ("-vv",), ("--tb=long",), ("--tb=no",), ("-ra",), ("--no-summary",))
PROCESSES = (("-n", "2"), ("-n", "2", "-q"))


@pytest.mark.parametrize("arguments", [*MODES, *PROCESSES], ids=" ".join)
def test_causes_and_verdict_come_last(suite, arguments):
    """However much or little pytest prints, the run ends with the causes, their fixes and one line of verdict."""
    suite.except_for("BCAST-01", "HUB-02", "HUB-03", "HUB-08", tests=OF_ONE_CAUSE + UNEXPLAINED)

    run = suite.run(*arguments)

    verdict = f"{VERDICT}); 1 of {SHOULD} SHOULD requirements does not hold"
    ending = [*CAUSE, *NO_CAUSE, verdict]
    assert [line for line in run.lines if line.strip()][-len(ending) :] == ending
    assert run.status == 1


def test_the_causes_of_the_verdict_are_those_of_its_requirements(suite):
    """A MUST requirement without a known cause has none, whatever the cause of a SHOULD requirement's failure is."""
    explained = f"""
@pytest.mark.requirement("HUB-08")
def test_pins(request):
    request.node.user_properties.append(("finding", {FINDING!r}))
    raise CheckFailed("the MAC address follows a port")
"""
    suite.except_for("BCAST-01", "HUB-08", tests=UNEXPLAINED.replace("HUB-08", "BCAST-01") + explained)

    run = suite.run()

    assert "1 does not (no known cause); 1 of " in run.last


def test_of_a_selection_only_its_should_requirements_are_counted(suite):
    """The verdict on selected tests counts the SHOULD requirements that they cover, as it counts the MUST ones."""
    suite.except_for("HUB-08", tests=UNEXPLAINED)

    run = suite.run("-k", "has_a_reason")

    assert "; 1 of 1 selected SHOULD requirements does not hold" in run.last


@pytest.mark.parametrize(
    ("different", "findings", "causes"),
    [
        ({"node": "spoke1", "interface": "gretap1", "remedy": "ip link set gretap1 master br0"}, 2, "2 causes"),
        ({"rule": "-A OUTPUT -p gre -j DROP", "remedy": "iptables -I OUTPUT -p gre -j ACCEPT"}, 2, "2 causes"),
        ({"code": "bridge-missing"}, 2, "1 cause"),
        ({"remedy": "ip link set gretap2 down"}, 1, "1 cause"),
    ],
    ids=["at two hosts", "two rules of a firewall", "two findings of one fix", "in labs of two makes"],
)
def test_a_cause_is_what_one_command_corrects(suite, different, findings, causes):
    """Findings with different commands are two causes, even at one interface; those with one command are one cause."""
    further = {**FINDING, **different}
    suite.except_for(
        "BCAST-01",
        tests=f"""
@pytest.mark.requirement("BCAST-01")
def test_delivers(request):
    request.node.user_properties += [("finding", {FINDING!r}), ("finding", {further!r})]
    raise CheckFailed("spoke2 missed a datagram")
""",
    )

    run = suite.run()

    assert run.last == f"verdict: nonconformant - {MUST - 1} of {MUST} MUST requirements hold, 1 does not ({causes})"
    assert len(run.result["findings"]) == findings


def test_a_run_without_a_terminal_has_its_results(suite):
    """With an option of pytest to print nothing, nothing is printed and nothing breaks."""
    suite.except_for("BCAST-01", "HUB-02", "HUB-03", tests=OF_ONE_CAUSE)

    run = suite.run_apart("-p", "no:terminal")

    assert (run.status, run.text.strip()) == (1, "")
    assert run.result["verdict"] == "nonconformant"
    assert [len(finding["tests"]) for finding in run.result["findings"]] == [MANY]


def test_a_failing_run_is_short(suite):
    """Failures with a known cause are counted with it and not listed: at most 40 lines follow the progress."""
    suite.except_for("BCAST-01", "HUB-02", "HUB-03", tests=OF_ONE_CAUSE)

    run = suite.run()

    progress = max(number for number, line in enumerate(run.lines) if line.endswith("[100%]"))
    assert len(run.lines[progress + 1 :]) <= 40, run.text
    assert "missed datagram" not in run.text
    assert f"{MANY} failures with a known cause are not shown; -v shows each" in run.lines
    assert f"{MANY} failed" in run.text, "pytest counts them as failed"
    assert run.last == f"{VERDICT})"


def test_failures_without_a_cause_stay_whole(suite):
    """A failure that no finding explains is shown as pytest shows it, beside hundreds that are explained."""
    suite.except_for(tests=OF_ONE_CAUSE + UNEXPLAINED)

    run = suite.run()

    assert "E   lab.errors.CheckFailed: spoke1 received 2 copies" in run.lines
    (listed,) = [line for line in run.lines if line.startswith("FAILED")]
    assert listed.startswith("FAILED tests/test_own.py::test_has_a_reason_of_its_own")


def test_failures_with_one_text_are_shown_once(suite):
    """Tests that fail alike, as when no lab can be built, are shown once and counted."""
    suite.except_for(
        tests="""
@pytest.fixture
def lab(): pytest.fail("no agent answers", pytrace=False)

@pytest.mark.requirement("HUB-01")
@pytest.mark.parametrize("number", range(50))
def test_hub(lab, number): pass
"""
    )

    run = suite.run()

    assert [line for line in run.lines if line.startswith("ERROR ")] == [
        "ERROR tests/test_own.py::test_hub[0] - Failed: no agent answers"
    ]
    assert "49 more with the same text as tests/test_own.py::test_hub[0]" in run.lines
    assert "50 errors" in run.text


def test_what_the_user_requests_is_shown(suite):
    """With -v, --tb and -r pytest shows every failure in its own format."""
    suite.except_for(tests=OF_ONE_CAUSE)

    listed = suite.run("-rf")
    assert sum(line.startswith("FAILED") for line in listed.lines) == MANY
    assert "E       lab.errors.CheckFailed: spoke2 missed datagram 0" not in listed.lines

    traced = suite.run("--tb=short")
    assert sum("missed datagram" in line for line in traced.lines) >= MANY
    assert not any(line.startswith("FAILED") for line in traced.lines)

    wordy = suite.run("-v")
    assert sum("missed datagram" in line for line in wordy.lines) >= 2 * MANY


def test_few_failures_are_shown_though_explained(suite):
    """Failures that bury nothing are shown with their messages."""
    suite.except_for(tests=OF_ONE_CAUSE.replace(f"range({MANY})", "range(3)"))

    run = suite.run()

    assert sum("E       lab.errors.CheckFailed: spoke2 missed" in line for line in run.lines) == len(range(3))


@pytest.mark.parametrize("quiet", [(), ("-q",)], ids=["plain", "-q"])
def test_a_run_that_fails_before_its_tests_has_a_verdict(suite, quiet):
    """A file of tests that cannot be collected ends the run with the reason and a verdict, also as the only one."""
    suite.file("tests/test_broken.py", "import nothing_like_it\n")

    run = suite.run(*quiet)

    assert run.lines[-3:-1] == [
        "not collected: tests/test_broken.py: ModuleNotFoundError: No module named",
        "    'nothing_like_it'",
    ]
    assert run.last.startswith("verdict: incomplete - 1 test file could not be collected; 0 of")
    assert run.status == 2
    assert run.result["verdict"] == "incomplete"


def test_ids_are_shortened_to_the_line(suite):
    """However many requirements a cause breaks, its line fits the terminal, and the page has them all."""
    suite.file(
        "tests/test_own.py",
        "import pytest\nfrom lab.requirements import in_scope\nIDS = [one.id for one in in_scope()][::2]\n"
        "@pytest.mark.parametrize('identity', [pytest.param(i, marks=pytest.mark.requirement(i)) for i in IDS])\n"
        f"def test_it(request, identity):\n    request.node.user_properties.append(('finding', {FINDING!r}))\n"
        "    assert 0\n",
    )

    run = suite.run()

    (caused,) = [line for line in run.lines if line.startswith("    caused ")]
    assert len(caused) <= 80
    assert caused.endswith(", ...)")
