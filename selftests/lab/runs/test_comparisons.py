"""A failed `==` of a conformance test shows in its first line what was found and what was expected."""

from types import SimpleNamespace

import pytest

from fixtures.failures import claims, comparisons


@pytest.mark.parametrize(
    ("left", "right", "first"),
    [
        ({"hub vxlan1": 8950}, {}, "hub vxlan1: found 8950; expected nothing"),
        ({False: 8810, True: 8910}, {False: 8910, True: 8910}, "False: found 8810; expected 8910"),
        (["hub ens3 has MTU 8900"], [], "found hub ens3 has MTU 8900; expected nothing"),
        ([1, 2], [2, 3], "found 1; expected 3"),
    ],
    ids=str,
)
def test_states_that_are_not_by_host_become_a_sentence(left, right, first):
    """Equal entries are omitted."""
    assert comparisons._of_states(left, right)[0] == first


@pytest.mark.parametrize(
    ("message", "first"),
    [
        ("assert found nothing; expected vxlan1", "Its MAC is at its port: found nothing; expected vxlan1"),
        ("AssertionError: assert []\n +  where [] = seen()", "Its MAC is at its port: found nothing"),
        ("assert not {7}", "Its MAC is at its port: found {7}; expected nothing"),
        (
            "assert False\n +  where False = all(<generator>)",
            "Its MAC is at its port: found False; expected it to be true",
        ),
        ("assert nothing is not among ('stale',)", "Its MAC is at its port: nothing is not among ('stale',)"),
        ("KeyError: 'hub'", "Its MAC is at its port: KeyError: 'hub'"),
        ("OSError: [Errno 101] Network is unreachable", "Its MAC is at its port: Network is unreachable"),
        ("assert spoke1: found nothing; expected 1", "Its MAC is at its port: spoke1: found nothing; expected 1"),
        ("assert spoke1 did not receive hub's broadcast: lost", "spoke1 did not receive hub's broadcast: lost"),
        ("OSError: [Errno 19] hub: device x: No such device", "hub: device x: No such device"),
    ],
)
def test_a_failure_begins_with_a_host_or_with_the_claim(message, first):
    """A comparison without a host follows the test's claim; no message begins with a bare comparison."""
    stash = pytest.Stash()
    stash[claims.LABS] = [SimpleNamespace(plans={"hub": None, "spoke1": None}, ended=[])]

    def claiming():
        """Its MAC is at its port."""

    item = SimpleNamespace(config=SimpleNamespace(stash=stash), function=claiming, name="test")

    assert claims.first_line_first(item, AssertionError(), message).splitlines()[0] == first


def test_equal_members_in_another_order_are_left_to_pytest():
    """A sentence that would name no difference is none."""
    assert comparisons._of_states([1, 2], [2, 1]) is None
