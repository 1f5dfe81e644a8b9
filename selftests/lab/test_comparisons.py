"""A failed `==` of a conformance test says in its first line what was found and what was expected."""

import pytest

from fixtures import comparisons


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
    """What is equal in both is left out."""
    assert comparisons._of_states(left, right)[0] == first


def test_equal_members_in_another_order_are_left_to_pytest():
    """A sentence that would name no difference is none."""
    assert comparisons._of_states([1, 2], [2, 1]) is None
