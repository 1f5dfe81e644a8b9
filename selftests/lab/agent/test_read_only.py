"""A node that was opened read-only, as live hosts are: its agent refuses every verb that makes a change."""

from __future__ import annotations

import errno
import inspect

import pytest

from lab.agent.machine_verbs import MachineVerbs
from lab.agent.service import Agent as Verbs
from lab.errors import NotApplicable
from lab.machines import program
from lab.machines.base import Agent, Call
from lab.machines.node import Observed
from lab.stack.changes import link_add, link_kind

CHANGING = [
    name
    for name, _ in inspect.getmembers(Verbs, inspect.isfunction)
    if name[0] != "_" and not hasattr(MachineVerbs, name)
]


@pytest.fixture
def observed(any_machine):
    """A machine's own stack, opened read-only."""
    node = Observed.home("hub", any_machine)
    yield node
    any_machine.call(Agent.node_close, [node.handle])


@pytest.mark.parametrize("verb", CHANGING)
def test_the_agent_refuses_every_change(observed, verb):
    """The agent itself rejects the verb, before it reads its arguments, whatever the wrapper on this side does."""
    with pytest.raises(OSError, match=f"read-only, and {verb} would change it") as refused:
        observed.machine.batch([Call(verb, (observed.handle,), {})])

    assert refused.value.errno == errno.EROFS


@pytest.mark.parametrize("verb", ["load_modules", "node_create"])
def test_a_change_of_the_whole_machine_is_refused(observed, verb):
    """A verb that names no node concerns the read-only one too."""
    with pytest.raises(OSError, match="read-only"):
        observed.machine.batch([Call(verb, (), {"names": ["dummy"]})])


def test_an_attempt_is_refused_too(observed):
    """A change wrapped in the verb that never fails is not made either."""
    change = ("apply", [observed.handle], {"changes": [link_add("spare", link_kind("dummy"))]})

    result, why = observed.machine.call(Agent.attempt, *change)

    assert result is None
    assert "read-only" in why
    assert not observed.has_link("spare")


def test_tests_see_that_a_change_is_not_applicable(observed):
    """A verb that a live host's node rejects skips the test, with the host's name; the host can still be read."""
    for change in (
        lambda: observed.apply(link_add("spare", link_kind("dummy"))),
        lambda: observed.write_sysctls({"net.ipv4.ip_forward": 1}),
        lambda: program.start(observed, "true", package="coreutils"),
    ):
        with pytest.raises(NotApplicable, match="hub: it is read-only"):
            change()

    assert observed.has_link("lo")
    assert observed.sysctl("net.ipv4.ip_forward") in ("0", "1")


def test_another_node_of_the_machine_is_changed(lab, observed):
    """Beside it, a node that was opened for changes takes them."""
    assert lab.hub.node.write_sysctls({"net.ipv4.ip_forward": 1})
