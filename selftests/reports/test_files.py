"""
Which files a run writes, where, for which readers, and what happens when it cannot.

    reports/  conformance.json  index.html  junit.xml  allure-results/
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from selftests.reports.counts import ALL, MUST

pytest_plugins = ["pytester"]

both_ways = pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])

LOOKALIKES = """
@pytest.mark.requirement("HUB-01")
@pytest.mark.parametrize("tag", [bytes([number]) for number in range(4)])
def test_of_bytes(tag): pass

@pytest.mark.requirement("HUB-01")
@pytest.mark.parametrize("spokes", range(4))
def test_of_spokes(spokes): pass
"""

COLOURED = r"""
import logging
RED, PLAIN = "\x1b[31m", "\x1b[0m"

@pytest.mark.requirement("HUB-01")
def test_compares():
    print(f"{RED}printed by a program{PLAIN}")
    logging.getLogger().warning("logged by a library")
    assert {"hub": ["only in one"], "spoke1": 1} == {"hub": [], "spoke1": 1}

@pytest.mark.requirement("HUB-02")
def test_raises(): raise CheckFailed(f"{RED}raised by a program{PLAIN}")
"""

LOOKING = (("--collect-only",), ("--collect-only", "-n", "2"), ("--markers",), ("--fixtures",))

LONG = """
import pytest

@pytest.mark.requirement("HUB-08")
def test_long(record_property):
    print("x" * 220_000)  # which Allure attaches
    record_property("long", "x" * 220_000)  # which junit.xml holds
"""

EVIDENCE = r"""
import pytest

pytest_plugins = ["reports.allure.evidence"]

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        pieces = {"state.txt": "up", "state.json": {"hub": 1}, "frames": b"\n\r\r\n", "empty": b""}
        item.ihook.pytest_overcast_evidence(item=item, attachments=pieces)
    return report
"""


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_looking_writes_nothing(suite, arguments):
    """A call that runs no tests has no results and no verdict."""
    suite.except_for()

    run = suite.run(*arguments)

    assert run.status == 0
    assert run.written == []
    assert "verdict" not in run.text


def test_other_tests_leave_results_alone(suite):
    """A run of the suite's own tests neither judges nor overwrites what a conformance run has written."""
    suite.except_for()
    suite.file("selftests/test_it.py", "def test_it(): pass\n")
    before = {path: path.read_bytes() for path in suite.run().reports.iterdir()}

    run = suite.run("selftests")

    assert run.status == 0
    assert "verdict" not in run.text
    assert {path: path.read_bytes() for path in run.reports.iterdir()} == before


def test_both_kinds_in_one_run(suite):
    """The verdict covers only the conformance tests when other tests run with them."""
    suite.except_for()
    suite.file("selftests/test_it.py", "def test_it(): assert 0\n")

    run = suite.run("selftests", "tests")

    assert run.last == f"verdict: conformant - {MUST} of {MUST} MUST requirements hold"
    assert run.status == 1
    assert len(run.result["tests"]) == ALL


def test_allure_and_junit_are_on_by_default(suite):
    """One run leaves Allure results with area, requirement and severity, and a junit.xml that carries the ids."""
    suite.except_for()
    old = suite.file("reports/allure-results/01298f83-d24d-41c0-bbe7-a95e2bbd4573-result.json", "{}")
    foreign = suite.file("reports/allure-results/categories.json", "[]")

    run = suite.run_apart("-n", "2")

    assert run.status == 0, run.text
    results = [json.loads(path.read_text()) for path in (run.reports / "allure-results").glob("*-result.json")]
    labels = {
        (one["name"], one["value"]) for result in results for one in result["labels"] if "BCAST-01" in str(result)
    }
    assert labels >= {("epic", "Overcast"), ("feature", "Broadcast"), ("severity", "critical"), ("tag", "BCAST-01")}
    assert ("parentSuite", "Broadcast") in labels, "the list of suites is of areas, not of files"
    suites = [value for name, value in labels if name == "suite"]
    assert [value.partition(" ")[0] for value in suites] == ["BCAST-01"]
    assert {tuple(text.partition(" ")[0] for text in one["titlePath"]) for one in results} >= {
        ("Broadcast", "BCAST-01")
    }
    (described,) = [one["description"] for one in results if "BCAST-01" in str(one)]
    assert "BCAST-01 (MUST): " in described
    assert "Source: " in described
    assert len(results) == ALL
    assert not old.exists(), "results of an earlier run are removed"
    assert foreign.exists(), "files of others stay"
    assert "pytest=" in (run.reports / "allure-results" / "environment.properties").read_text()
    properties = ElementTree.parse(run.reports / "junit.xml").iter("property")
    assert {one.get("value") for one in properties if one.get("name") == "requirement"} >= {"BCAST-01", "TTL-05"}


def test_allure_shows_every_test(suite):
    """No two tests look the same to Allure, whatever the values and the names of their parameters."""
    suite.file("conftest.py", "def pytest_addoption(parser): parser.addoption('--spokes', dest='spokes', default=2)\n")
    suite.except_for(tests=LOOKALIKES)

    run = suite.run_apart("tests/test_own.py")

    results = [json.loads(path.read_text()) for path in (run.reports / "allure-results").glob("*-result.json")]
    assert len(results) == len(range(4)) * 2
    shown = {(one["fullName"], *sorted((each["name"], each["value"]) for each in one["parameters"])) for one in results}
    assert len(shown) == len(results)
    assert len({one["historyId"] for one in results}) == len(results)
    assert ("--spokes", "'2'") in next(iter(shown))


@both_ways
def test_results_hold_no_control_sequences(suite, processes):
    """Colours of pytest, of logs and of programs are in no result, also where the terminal has them."""
    suite.except_for(tests=COLOURED)

    run = suite.run_apart("tests/test_own.py", "--color=yes", *processes)

    assert "\x1b[31m" in run.text, "the terminal has colours"
    files = {path: path.read_text(encoding="utf-8") for path in run.reports.rglob("*") if path.is_file()}
    assert {"conformance.json", "index.html", "junit.xml"} < {path.name for path in files}
    words = ("only in one", "printed by a program", "logged by a library", "raised by a program")
    for word in words:
        assert [path for path, text in files.items() if word in text], f"{word!r} is in the results"
    assert [path.name for path, text in files.items() if "\x1b" in text or "\\u001b" in text or "#x1B" in text] == []


def test_places_named_by_the_user(suite):
    """--reports moves all results; --junitxml and --alluredir override it for their files."""
    suite.except_for()

    run = suite.run_apart("--reports=elsewhere/deep", "--junitxml=mine.xml", "--alluredir=mine")

    assert run.status == 0, run.text
    assert not run.reports.exists()
    written = sorted(path.name for path in (suite.path / "elsewhere/deep").iterdir())
    assert written == ["conformance.json", "index.html", "summary.md"]
    assert (suite.path / "mine.xml").exists()
    assert list((suite.path / "mine").glob("*-result.json"))


def test_evidence_is_attached(suite):
    """What a plugin gathers of a failed test hangs at its Allure result: text, data, captures."""
    suite.file("conftest.py", EVIDENCE)
    suite.except_for(tests='@pytest.mark.requirement("BCAST-01")\ndef test_own(): assert 0\n')

    run = suite.run_apart("-n", "2")

    results = [json.loads(path.read_text()) for path in (run.reports / "allure-results").glob("*-result.json")]
    attached = {one["name"]: one for result in results for one in result.get("attachments", [])}
    assert set(attached) == {"state.txt", "state.json", "frames"}
    assert attached["frames"]["source"].endswith(".pcapng")
    assert (run.reports / "allure-results" / attached["frames"]["source"]).read_bytes().startswith(b"\n\r\r\n")


def test_evidence_without_allure(suite):
    """Without Allure the evidence goes nowhere and nothing complains."""
    suite.file("conftest.py", EVIDENCE)
    suite.except_for(tests='@pytest.mark.requirement("BCAST-01")\ndef test_own(): assert 0\n')

    assert suite.run().last.startswith(f"verdict: nonconformant - {MUST - 1} of {MUST}")


def test_the_page_stands_alone(suite):
    """The page names every requirement in scope and fetches nothing."""
    suite.except_for("BCAST-01", tests='@pytest.mark.requirement("BCAST-01")\ndef test_own(): assert "<&>" == ""\n')

    page = (suite.run().reports / "index.html").read_text(encoding="utf-8")

    assert page.count("<tr id=") == ALL
    assert "&lt;&amp;&gt;" in page
    assert not [word for word in ("http://", "https://", "<script ", "@import", "url(", " src=") if word in page]


def test_reports_is_not_a_folder(suite):
    """A file in place of the folder is one clear message after a complete run, and a status that is not 0."""
    suite.except_for()
    suite.file("reports", "")

    run = suite.run_apart()

    assert_refused(run, "File exists")


@pytest.mark.parametrize(
    ("mount", "why"),
    [("size=4k,ro", "Read-only file system"), ("size=4k", "No space left on device")],
    ids=["read-only", "full"],
)
@both_ways
def test_no_room_for_results(suite, mount, why, processes):
    """Where nothing can be written, the tests run on, and one message comes with the verdict."""
    suite.except_for()

    run = run_on_small_disk(suite, mount, processes)

    assert_refused(run, why)


@pytest.mark.parametrize(
    ("size", "written"),
    [
        ("size=64k", ("summary.md",)),
        ("size=300k", ("conformance.json", "index.html", "summary.md")),
        ("size=1m", ("conformance.json", "index.html", "junit.xml", "summary.md")),
    ],
    ids=["64 KiB", "300 KiB", "1 MiB"],
)
@both_ways
def test_a_disk_that_fills_costs_the_least_important_results(suite, size, written, processes):
    """What fits is written whole: verdict, page, summary, JUnit's, Allure's. One message names the rest."""
    suite.except_for("HUB-08")
    suite.file("tests/test_long.py", LONG)

    run = run_on_small_disk(suite, size, processes)

    missing = [name for name in ("conformance.json", "index.html", "junit.xml", "summary.md") if name not in written]
    (message,) = [line for line in run.lines if "cannot be written" in line]
    assert message.startswith(f"the results cannot be written to {run.reports}: No space left on device (missing: ")
    assert all(name in message for name in (*missing, "allure-results"))
    assert [line for line in run.lines if line.startswith("on disk: ")] == [f"on disk: {name}" for name in written]
    assert_survived(run)
    if "conformance.json" in written:
        shown = "\n".join(line for line in run.lines if line.startswith("json: "))
        assert '"exit_status": 11' in shown
        assert '"verdict": "conformant"' in shown


def assert_refused(run, why):
    """Assert one message about results that cannot be written, beside what every such run ends with."""
    (message,) = [line for line in run.lines if "cannot be written" in line]
    assert message.startswith(f"the results cannot be written to {run.reports}: {why}")
    assert_survived(run)


def assert_survived(run):
    """Assert the way out, the verdict, the status, and no traceback."""
    assert "--reports=DIR" in run.text
    assert run.text.count("verdict: ") == 1
    assert f"verdict: conformant - {MUST} of {MUST} MUST requirements hold" in run.lines
    assert run.status == 11
    assert "Traceback" not in run.text
    assert "INTERNALERROR" not in run.text
    assert "generated xml" not in run.text


def run_on_small_disk(suite, options, processes):
    """
    Run the inner suite with a small file system of memory mounted at reports/, in a mount namespace of its own.

    What is there when it has ended is printed after it: the file system is gone with the namespace.
    """
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here\n  fix: run as root: sudo ./overcast test")
    (suite.path / "reports").mkdir()
    script = """
mount -t tmpfs -o "$0" none reports || exit
head -c 200000 /dev/zero 2>/dev/null >reports/junit.xml # of an earlier run
"$@"
status=$?
cd reports
find . -type f -printf 'on disk: %P\\n' | sort
! [ -e conformance.json ] || sed 's/^/json: /' conformance.json
exit $status"""
    command = [*unshare, "sh", "-c", script, options, sys.executable, *suite.command(), *processes]
    done = subprocess.run(command, cwd=suite.path, check=False, capture_output=True, text=True, timeout=60)
    return suite.ran(done.returncode, done.stdout + done.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away\n  fix: sudo ./overcast test")
def test_results_belong_to_who_called_sudo(suite, monkeypatch):
    """Everything that a run under sudo writes, caches included, belongs to the invoking user afterwards."""
    suite.except_for()
    outside = suite.file("outside", "")
    (suite.path / "reports").mkdir()
    (suite.path / "reports" / "junit.xml").symlink_to(outside)
    os.chown(suite.path / "reports", 1234, 1234)
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "1235")

    run = suite.run_apart("--reports=reports/new", "-n", "2")

    assert run.status == 0, run.text
    written = [run.reports / "new", *(run.reports / "new").rglob("*")]
    assert len(written) > ALL
    assert {(path.stat().st_uid, path.stat().st_gid) for path in written} == {(1234, 1235)}
    assert (suite.path / ".pytest_cache").stat().st_uid == 1234
    assert outside.stat().st_uid == 0, "what a run did not write is not given away"


SECRETIVE = """
HID = "hid" + "den"

@pytest.mark.requirement("HUB-01")
def test_quotes(request):
    finding = {"code": "port-not-bridged", "node": "hub", "interface": "", "summary": f"ssh -i /home/me/{HID}4 hub",
               "evidence": "", "remedy": f"API_TOKEN={HID}5 setup", "host": "", "note": False}
    request.node.user_properties.append(("finding", finding))
    print(f"https://me:{HID}1@example.net")
    raise CheckFailed(f"ssh://opc:{HID}2@hub refused; --ssh-identity-file=/home/me/{HID}3")
"""


@both_ways
def test_results_hold_no_secret(suite, processes):
    """A password, the path of a key, a token: whatever a test quotes, no file of the results has it."""
    suite.except_for("HUB-01", tests=SECRETIVE)

    run = suite.run_apart("tests/test_own.py", *processes)

    files = {path: path.read_text(encoding="utf-8") for path in run.reports.rglob("*") if path.is_file()}
    assert {"conformance.json", "index.html", "summary.md", "junit.xml"} < {path.name for path in files}
    assert any("[removed]" in text for text in files.values())
    for path, text in files.items():
        assert re.findall(r"hidden\d", text) == [], path.name


def test_junit_properties_are_json(suite):
    """A test's recorded data is JSON in junit.xml, which any program reads."""
    suite.except_for("HUB-01", tests=SECRETIVE)

    run = suite.run("tests/test_own.py")

    properties = ElementTree.parse(run.reports / "junit.xml").iter("property")
    (finding,) = [one.get("value") for one in properties if one.get("name") == "finding"]
    assert json.loads(finding)["code"] == "port-not-bridged"
