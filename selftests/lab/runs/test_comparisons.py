"""A failed `==` of a conformance test shows in its first line what was found and what was expected."""

from types import SimpleNamespace

import pytest

from fixtures.failures import claims, comparisons, values


@pytest.mark.parametrize(
    ("left", "right", "lines"),
    [
        ({"hub vxlan1": 8950}, {}, ["hub vxlan1: found 8950; expected nothing"]),
        ({False: 8810, True: 8910}, {False: 8910, True: 8910}, ["false: found 8810; expected 8910"]),
        (["hub ens3 has MTU 8900"], [], ["found hub ens3 has MTU 8900; expected nothing"]),
        (["vxlan1", "vxlan2"], [], ["found vxlan1, vxlan2; expected nothing"]),
        ([("hub", "vxlan1"), ("hub", "vxlan2")], [], ["found (hub, vxlan1), (hub, vxlan2); expected nothing"]),
        ([1, 2], [2, 3], ["found 1; expected 3"]),
        ({1, 2}, {2}, ["unexpected: 1"]),
        ({2}, {1, 2}, ["missing: 1"]),
        (("vxlan1", None), ("vxlan1", "bridge0"), ["found nothing; expected bridge0"]),
        ({"a": 125.0, "b": 2.0}, pytest.approx({"a": 125, "b": 1}, abs=0.01), ["b: found 2; expected 1"]),
        (list(range(9)), [], ["found 0, 1, 2, 3, 4, 5 and 3 more; expected nothing"]),
        (["a word " * 99], [], [f"found {'a word ' * 28}a ...; expected nothing"]),
    ],
    ids=str,
)
def test_what_differs_becomes_a_sentence(left, right, lines):
    """Equal entries are omitted, and no line has the syntax of Python."""
    assert values.differences(left, right) == lines


EXPECTED = "expected: Its MAC is at its port\n"


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("assert found nothing; expected vxlan1", f"{EXPECTED}found nothing; expected vxlan1"),
        ("AssertionError: assert []", f"{EXPECTED}found nothing"),
        ("assert not {7}", f"{EXPECTED}found {{7}}; expected nothing"),
        ("assert False", f"{EXPECTED}found false; expected true"),
        ("assert found stale; expected nothing among them", f"{EXPECTED}found stale; expected nothing among them"),
        ("Failed: DID NOT RAISE <class 'OSError'>", f"{EXPECTED}found no error; expected OSError"),
        ("Failed: DID NOT RAISE OSError", f"{EXPECTED}found no error; expected OSError"),
        ("KeyError: 'hub'", f"{EXPECTED}KeyError: 'hub'"),
        ("OSError: [Errno 101] Network is unreachable", f"{EXPECTED}Network is unreachable"),
        ("assert spoke1: found nothing; expected 1", f"{EXPECTED}spoke1: found nothing; expected 1"),
        ("assert hub vxlan1: found 1; expected 2", f"{EXPECTED}hub vxlan1: found 1; expected 2"),
        ("AssertionError: one port\nassert found 1; expected 2", f"{EXPECTED}one port"),
        ("AssertionError: hub br0: MTU 1; expected 2\nassert found 1; expected 2", "hub br0: MTU 1; expected 2"),
        ("assert spoke1 did not receive hub's broadcast: lost", "spoke1 did not receive hub's broadcast: lost"),
        ("OSError: [Errno 19] hub: device x does not exist", "hub: device x does not exist"),
    ],
)
def test_a_failure_begins_with_a_host_or_with_the_requirement(message, lines):
    """The requirement has a line of its own, marked as expected: no sentence states it as a fact."""
    stash = pytest.Stash()
    stash[claims.LABS] = [SimpleNamespace(plans={"hub": None, "spoke1": None}, ended=[])]

    def claiming():
        """Its MAC is at its port."""

    item = SimpleNamespace(config=SimpleNamespace(stash=stash), function=claiming, name="test")

    assert claims.first_line_first(item, AssertionError(), message) == lines


def test_the_causes_follow_what_was_found():
    """They are no part of the requirement."""
    assert claims.with_causes(f"{EXPECTED}found 1; expected 2\n  more", "loop") == (
        f"{EXPECTED}found 1; expected 2 (loop)\n  more"
    )
    assert claims.with_causes("hub did not answer", "loop") == "hub did not answer (loop)"
    assert claims.with_causes("ping printed:\n  PING", "loop") == "ping printed (loop):\n  PING"
    assert claims.with_causes("hub has no entry\n  fix: bridge mdb show", "loop") == "hub has no entry (loop)"
    named = "found loop (hub), bridge-down (hub); expected none"
    assert claims.with_causes(named, "loop, bridge-down") == named


def test_one_host_that_differs_is_shown_once():
    """Further hosts follow the first one; it is not repeated."""
    stash = pytest.Stash()
    stash[claims.LABS] = [SimpleNamespace(plans={"hub": None, "spoke1": None}, ended=[])]
    config = SimpleNamespace(stash=stash)
    both, one = {"hub": 1, "spoke1": 1}, {"hub": 1, "spoke1": 3}

    assert comparisons.pytest_assertrepr_compare(config, "==", one, both) == ["spoke1: found 3; expected 1"]
    assert comparisons.pytest_assertrepr_compare(config, "==", {"hub": 2, "spoke1": 3}, both) == [
        "hub: found 2; expected 1",
        "  spoke1: found 3; expected 1",
    ]


def test_equal_members_in_another_order_are_left_to_pytest():
    """A sentence that would name no difference is none."""
    assert values.differences([1, 2], [2, 1]) is None
