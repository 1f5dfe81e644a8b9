"""
The frames of failed tests, as files that the page links.

    a failed test --> reports/captures/NAME.pcapng <-- index.html, conformance.json
"""

from __future__ import annotations

import pytest

from reports.html import captures

pytest_plugins = ["pytester"]

both_ways = pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])
EVIDENCE = ("-p", "reports.allure.evidence")
FRAMES = bytes.fromhex("0a0d0d0a") + b"frames"
FAILING = f"""
@pytest.mark.requirement("HUB-08")
@pytest.mark.parametrize("number", range(2))
def test_lost(request, number):
    attachments = {{"frames.pcapng": {FRAMES!r}, "state of the lab.txt": "up"}}
    request.node.ihook.pytest_overcast_evidence(item=request.node, attachments=attachments)
    raise CheckFailed("lost")
"""


@both_ways
def test_the_page_links_the_frames_of_a_failed_test(suite, processes):
    """Each failed test has its file, named after the test; page and conformance.json name it."""
    suite.except_for("HUB-08", tests=FAILING)

    run = suite.run_apart(*EVIDENCE, *processes)

    failed = [test["capture"] for test in run.result["tests"] if test["outcome"] == "failed"]
    files = sorted(str(path.relative_to(run.reports)) for path in (run.reports / "captures").iterdir())
    assert sorted(failed) == files
    assert len(files) == 2
    assert {(run.reports / file).read_bytes() for file in files} == {FRAMES}
    page = (run.reports / "index.html").read_text(encoding="utf-8")
    assert [file for file in files if f'href="{file}"' not in page] == []
    assert {test["capture"] for test in run.result["tests"] if test["outcome"] == "passed"} == {""}


def test_the_next_run_begins_without_them(suite):
    """The files of an earlier run are removed; other files in the folder stay."""
    suite.except_for("HUB-08", tests=FAILING)
    run = suite.run_apart(*EVIDENCE)
    assert len(list((run.reports / "captures").iterdir())) == 2
    notes = suite.file("reports/captures/notes.txt", "mine")
    suite.file("tests/test_own.py", "")
    suite.except_for()

    run = suite.run_apart(*EVIDENCE)

    assert list((run.reports / "captures").iterdir()) == [notes]


def test_names_are_short_and_each_test_has_its_own():
    """A name has no character that a shell treats specially, and differs where tests differ only in what is cut off."""
    long = "tests/broadcast/test_address.py::test_a[" + "x" * 200
    names = {captures.name(f"{long}{end}]") for end in ("1", "2", "$(true)")}

    assert len(names) == 3
    assert all(len(name) < 128 and not set(name) & set(" $()/*?[]'\"") for name in names)
