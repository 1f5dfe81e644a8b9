"""How tests are tied to requirements, and what a mistake in it looks like."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

both_ways = pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two workers"])

MISTAKES = (
    (
        "ERROR: tests/test_own.py::test_of_nothing asserts no requirement: "
        'mark it @pytest.mark.requirement("ID"), with an id of docs/requirements.md'
    ),
    "tests/test_own.py::test_of_nonsense asserts BCAST-1, which lab/catalogue.json does not have (did you mean BCAST-",
)


@both_ways
def test_mistakes_end_the_collection(suite, processes):
    """Tests without a requirement or with an unknown one are all named in one message, and nothing runs."""
    suite.except_for(
        tests="""
@pytest.mark.parametrize("node", ["hub", "spoke1"])
def test_of_nothing(node): pass

@pytest.mark.requirement("BCAST-1")
def test_of_nonsense(): pass
"""
    )

    run = suite.run(*processes)

    assert run.status == 4
    start = run.lines.index(MISTAKES[0])
    assert run.lines[start + 1].startswith(MISTAKES[1])
    assert run.text.count("asserts no requirement") == 1
    assert "Traceback" not in run.text
    assert "verdict" not in run.text
    assert "conformance.json" not in run.written


def test_other_tests_need_no_requirement(suite):
    """A test outside tests/ asserts no requirement and is not changed."""
    suite.file("selftests/test_it.py", "def test_it(): pass\n")

    assert suite.run("selftests").status == 0


def test_marks_of_class_and_function_add_up(suite):
    """A test asserts what its class asserts and what itself does."""
    suite.except_for(
        tests="""
@pytest.mark.requirement("HUB-01")
class TestHub:
    @pytest.mark.requirement("BCAST-01", "HUB-04")
    def test_own(self): pass
"""
    )

    own = next(test for test in suite.run().result["tests"] if "test_own" in test["id"])

    assert own["requirements"] == ["BCAST-01", "HUB-01", "HUB-04"]


@pytest.mark.parametrize(("tunnel", "outcome"), [("gretap", "passed"), ("vxlan", "not-applicable")])
def test_kinds_of_tunnel(suite, tunnel, outcome):
    """A test that is marked for some kinds of tunnel runs on these and does not apply to others."""
    suite.file(
        "conftest.py", "def pytest_addoption(parser): parser.addoption('--tunnel', dest='tunnel', default='gretap')\n"
    )
    suite.except_for(
        "WIRE-01",
        tests='@pytest.mark.tunnel("gretap", "erspan")\n@pytest.mark.requirement("WIRE-01")\ndef test_w(): pass\n',
    )

    assert suite.run(f"--tunnel={tunnel}").requirement("WIRE-01")["outcome"] == outcome


def test_a_filter_on_a_parameter(suite):
    """A single value of an axis can be marked for a kind of tunnel; the others still show the requirement."""
    suite.except_for(
        "WIRE-01",
        tests="""
@pytest.mark.requirement("WIRE-01")
@pytest.mark.parametrize("key", [None, pytest.param(42, marks=pytest.mark.tunnel("ip6gretap"))])
def test_header(key): assert key is None
""",
    )

    assert suite.run().requirement("WIRE-01")["outcome"] == "passed"
