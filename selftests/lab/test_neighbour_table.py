"""
The table of neighbours, which all stacks of a kernel share: what closed ones hold is given back.

    kept a --veth-- b closed        ping: each resolves the other
    next, closed after it           -->  only kept's neighbour is left
"""

import execnet
import pytest

from lab.changes import addr_add, link_add, link_set, veth
from lab.machines import choose
from lab.machines.base import Agent
from lab.machines.node import Node, close

COLLECTED_FROM = "net.ipv4.neigh.default.gc_thresh1"


@pytest.fixture
def machine():
    """A guest of its own: no other stack's neighbours are in its table."""
    starting = choose.start(choose.choose("guest", "gretap"), execnet.Group())
    yield starting.machine()
    starting.close()


def test_closed_nodes_hold_no_neighbours(machine):
    """What a closed node has resolved since is forgotten when the next one is closed, where neighbours are many."""
    kept, closed, following = Node.create(machine, "kept", "closed", "next").values()
    home = Node.home("home", machine)
    kept.apply(link_add("a", veth("b", closed.handle)), addr_add("a", "10.9.0.1/24"))
    closed.apply(link_set("b", up=True), addr_add("b", "10.9.0.2/24"))
    assert kept.ask(Agent.settle, devices=["a"], timeout=5.0) == []

    close(machine, [closed])
    assert kept.run("ping", "-c", "1", "-w", "5", "10.9.0.2")["status"] == 0
    resolved = kept.ask(Agent.neighbour_table)["entries"]
    home.write_sysctls({COLLECTED_FROM: 0})
    close(machine, [following])

    assert (resolved, kept.ask(Agent.neighbour_table)["entries"]) == (2, 1)
