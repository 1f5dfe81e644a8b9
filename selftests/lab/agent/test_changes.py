"""Constructors of changes and the agent's methods that make them have the same names and fields."""

from __future__ import annotations

import inspect

import pytest

from lab.agent.changes.links import Links
from lab.stack import changes

HELPERS = {"_address", "_attribute", "_neighbour", "_peer", "_route"}
CONSTRUCTORS = {
    name: constructor
    for name, constructor in inspect.getmembers(changes, inspect.isfunction)
    if inspect.signature(constructor).return_annotation == "Change" and not name.startswith("_")
}


def test_every_change_of_the_agent_has_a_constructor():
    """No change is left that only a hand-written tuple can name, and none is named that the agent cannot make."""
    methods = {name for name, _ in inspect.getmembers(Links, inspect.isfunction) if name.startswith("_")}

    made = {name for name in methods - HELPERS if not name.startswith("__")}

    assert {f"_{name}" for name in CONSTRUCTORS} == made


@pytest.mark.parametrize("name", CONSTRUCTORS)
@pytest.mark.parametrize("kind", [changes.bridge(stp_state=1), changes.veth("peer", 1)], ids=["bridge", "veth"])
def test_the_agent_takes_every_field(name, kind):
    """The agent's method accepts all the fields of the constructor of the same name."""
    parameters = inspect.signature(CONSTRUCTORS[name]).parameters
    if name == "link_set":
        kind = changes.bridge(stp_state=1)

    verb, fields = CONSTRUCTORS[name](**dict.fromkeys(parameters, 1) | ({"kind": kind} if "kind" in parameters else {}))

    method = inspect.signature(getattr(Links, f"_{verb}"))
    assert method.bind(None, **fields)
    if name.startswith("route_"):
        assert inspect.signature(Links._route).bind(None, 0, 0, "add", **fields)
