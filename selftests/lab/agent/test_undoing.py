"""
Changes that are undone: the way back is known to a process of its own before a change is made.

    agent ── the way back of each change ──▶ restorer
"""

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from lab.machines.node import Agent
from lab.overlay import plan
from lab.stack import differences, state
from lab.stack.changes import addr_add, bridge, fdb_replace, link_add, link_set, route_del

MARK = b"overcast_restorer"


@pytest.fixture
def bare(make_lab):
    """A lab without an overlay, and its hub, whose changes are undone on request."""
    lab = make_lab(overlay=False)
    before = state.of(lab.nodes), state.fingerprint(lab.nodes)
    yield lab, lab.hub.node
    assert differences.compared(before[0], state.of(lab.nodes)) == []
    assert state.fingerprint(lab.nodes) == before[1]


def set_up(lab, node):
    """The overlay's changes of the hub."""
    node.ask(Agent.undoable)
    node.apply(*plan.changes(lab.topology, lab.topology.hub))
    node.write_sysctls(plan.sysctls(lab.topology, lab.topology.hub))


def restorers(machine):
    """The restorers that this machine's processes show, below the agent's own."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mine = (entry / "ns/pid").readlink() == Path(f"/proc/{machine.facts['outer_pid']}/ns/pid").readlink()
            if mine and MARK in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def test_an_overlay_is_taken_away_whole(bare):
    """Links, addresses, routes and parameters are unchanged; no step is reported as not undone."""
    lab, node = bare
    set_up(lab, node)
    assert node.has_link(lab.topology.bridge)

    assert node.ask(Agent.undo) == []


def test_a_route_comes_back_with_all_that_it_had(bare):
    """A route that was removed temporarily is restored as the kernel described it: metric, protocol and scope."""
    _, node = bare
    node.run("ip", "route", "add", "224.0.0.0/4", "dev", "ens3", "metric", "7", "proto", "42", "advmss", "1300")
    described = node.run("ip", "route")["output"]
    node.ask(Agent.undoable)
    node.apply(route_del("224.0.0.0/4", "ens3"))
    assert "224.0.0.0/4" not in node.run("ip", "route")["output"]

    assert node.ask(Agent.undo) == []
    assert node.run("ip", "route")["output"] == described
    node.run("ip", "route", "del", "224.0.0.0/4")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (link_set("ens3", up=False), FileExistsError),
        (addr_add("ens3", "10.0.0.197/24"), FileExistsError),
        (link_add("ens3", bridge()), FileExistsError),
        (fdb_replace("ens3", "02:00:00:00:00:01"), OSError),
    ],
    ids=["link", "address", "name", "no-way-back"],
)
def test_what_is_there_is_not_touched(bare, change, refusal):
    """A rejected change is not undone either: the existing object stays."""
    _, node = bare
    node.ask(Agent.undoable)

    with pytest.raises(refusal):
        node.apply(change)

    assert node.ask(Agent.undo) == []


def test_what_is_gone_already_is_no_failure(bare):
    """Another program removed the bridge meanwhile: the rest is undone, and no error is reported."""
    lab, node = bare
    set_up(lab, node)
    node.run("ip", "link", "del", lab.topology.bridge)

    assert node.ask(Agent.undo) == []


def test_what_cannot_be_undone_is_named_and_the_rest_is_done(bare):
    """A failed step is reported with its command, and the other steps are undone."""
    _, node = bare
    node.run("ip", "route", "add", "224.0.0.0/4", "dev", "ens3")
    node.run("ip", "route", "add", "239.0.0.0/8", "dev", "ens3")
    node.ask(Agent.undoable)
    for to in ("239.0.0.0/8", "224.0.0.0/4"):
        node.apply(route_del(to, "ens3"))
    node.run("ip", "route", "add", "blackhole", "224.0.0.0/4")

    (failure,) = node.ask(Agent.undo)

    assert failure["command"] == "ip route add 224.0.0.0/4 dev ens3"
    assert "File exists" in failure["error"]
    assert "239.0.0.0/8 dev ens3" in node.run("ip", "route")["output"]
    for to in ("239.0.0.0/8", "224.0.0.0/4"):
        node.run("ip", "route", "del", to)


def test_a_stack_has_one_restorer(bare):
    """The second run is rejected and has changed nothing; the first one's restorer stays."""
    lab, node = bare
    set_up(lab, node)
    second = dataclasses.replace(node, handle=lab.machine.call(Agent.node_create, names=["other"])[0])
    second.ask(Agent.undoable)  # another stack

    with pytest.raises(OSError, match="hub: another run has set up an overlay here"):
        node.ask(Agent.undoable)

    assert second.ask(Agent.undo) == []
    assert node.ask(Agent.undo) == []
    assert node.ask(Agent.wait_restored, timeout=5.0)


def test_a_killed_restorer_is_replaced(bare):
    """The agent has the undo list, too: it starts another restorer when its own was killed."""
    lab, node = bare
    if lab.machine.kind != "local":
        pytest.skip("processes of a guest are not seen from outside")
    set_up(lab, node)
    (restorer,) = restorers(lab.machine)
    os.kill(restorer, signal.SIGKILL)

    assert node.ask(Agent.undo) == []


def test_a_module_that_came_with_the_tunnel_goes_with_it(make_lab):
    """ip_gre creates devices in every stack: they disappear, because the module is unloaded."""
    lab = make_lab(overlay=False)
    node = lab.hub.node
    if lab.machine.kind != "guest":
        pytest.skip("a module of this machine's kernel is not a test's to unload")
    lab.machine.call(Agent.unload_modules, names=["ip_gre"])
    before = state.fingerprint(lab.nodes), node.run("cat", "/proc/modules")["output"]
    try:
        set_up(lab, node)
        assert node.has_link("gretap0")

        assert node.ask(Agent.undo) == []
        assert (state.fingerprint(lab.nodes), node.run("cat", "/proc/modules")["output"]) == before
    finally:
        lab.machine.call(Agent.load_modules, names=["ip_gre"])
