"""
What closed nodes hold of the whole kernel's is given back, although their stacks live on for a while.

    kept a --veth-- b closed        ping: each resolves the other
    next, closed after it           -->  only kept's neighbour is left
    20 nodes, each with 12 MiB of captured frames, closed   -->  the memory is free
"""

import execnet
import pytest

from lab.machines import choose
from lab.machines.base import Agent
from lab.machines.node import Node, close
from lab.probes import options
from lab.stack.changes import addr_add, link_add, link_set, veth

MANY, FEW = 20, 40 << 20  # nodes; octets of memory, of the 12 MiB that each of them captured
LARGE, FILLING = 60_000, 200  # octets, and datagrams
DISCARD = 9
COLLECTED_FROM = "net.ipv4.neigh.default.gc_thresh1"


@pytest.fixture
def machine():
    """A guest of its own: no other stack's neighbours are in its table."""
    starting = choose.start(choose.choose("guest", "gretap"), execnet.Group())
    yield starting.machine()
    starting.close()


def test_closed_nodes_hold_no_neighbours(machine):
    """With many neighbours, the entries of a closed node are removed when the next one is closed."""
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


def test_closed_nodes_hold_no_frames(machine):
    """Unread frames are dropped when their node is closed."""
    home, before = Node.home("home", machine), []

    for number in range(MANY):
        (node,) = Node.create(machine, f"node{number}").values()
        machine.call(Agent.tap_ready, nodes=[node.handle])
        node.ask(Agent.send_many, [bytes(LARGE)] * FILLING, ["127.0.0.1", DISCARD], **options.UDP)
        close(machine, [node])
        before.append(_available(home))

    assert before[0] - before[-1] < FEW


def _available(home):
    """Octets of memory that the guest could still use."""
    (line,) = [one for one in home.run("cat", "/proc/meminfo")["output"].splitlines() if "MemAvailable" in one]
    return int(line.split()[1]) << 10


def test_a_burst_of_large_buffers_is_captured_whole(machine):
    """The buffer is large enough for unread frames, although each counts with its whole size, out and in."""
    (node,) = Node.create(machine, "node").values()
    machine.call(Agent.tap_ready, nodes=[node.handle])

    node.ask(Agent.send_many, [bytes(LARGE)] * FILLING, ["127.0.0.1", DISCARD], **options.UDP)

    assert machine.call(Agent.frames, nodes=[node.handle], tags=[])[0] == [0]
