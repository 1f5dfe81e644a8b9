"""
The agent's verbs for its machine, for what happens in its nodes and for their taps.

Like those of `state_verbs` and `socket_verbs` they change nothing that is configured: a node that was opened read-only
has no other verbs.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from lab.agent import awaiting, namespaces
from lab.agent.capture import tap_filter
from lab.agent.changes import restoring
from lab.agent.datagrams.progress import Peer, Progress
from lab.agent.node import AgentNode
from lab.agent.occupancy import Occupancy
from lab.agent.socket_verbs import SocketVerbs
from lab.agent.stack import neighbour_table

BYTES_OF_STACK = 512 << 10  # measured: what the kernel keeps for a stack with a few devices
MOST_CLOSED = min(256, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8 // BYTES_OF_STACK)
"""Stacks of closed nodes that are kept, in an eighth of the machine's memory at most."""
MOST_CLOSING = 16
"""Stacks that are closed at the same time: their waits for every CPU are one then."""


class MachineVerbs(SocketVerbs):
    """Every public method is a verb; arguments and results are builtins."""

    def __init__(self) -> None:
        super().__init__()
        self._closed: list[AgentNode] = []
        self._occupancy = Occupancy()
        self._progress: Progress | None = None

    # the machine

    def hello(self) -> dict[str, Any]:
        """What this machine is."""
        return {
            "kernel": os.uname().release,
            "python": sys.version.split()[0],
            # /proc is the host's: its link to this process is its PID on the host
            "outer_pid": int(os.readlink("/proc/self")),
            "uid": os.geteuid(),
            "time": time.time_ns(),
        }

    def echo(self, token: str) -> str:
        return token

    def claim(self, holder: str, timeout: float) -> str:
        """Takes the machine's own stack for one run; returns who holds it instead (`occupancy.Occupancy.claim`)."""
        return self._occupancy.claim(holder, timeout)

    def meet(self, node: int, port: int, key: bytes) -> None:
        """Answers the agents of the run, on the node's networks, how far this one is (`progress.Progress`)."""
        if self._progress is None:
            with self._nodes[node].stack.entered():
                self._progress = Progress(port)
        self._progress.begin(key)

    def await_done(self, peers: Sequence[Peer], timeout: float) -> None:
        """Waits until other agents have done requests; ETIMEDOUT names those that have not by the deadline (s)."""
        missing = self._progress.wait(peers, timeout) if self._progress else [number for number, *_ in peers]
        if missing:
            late = ", ".join(address for number, address, _ in peers if number in missing)
            raise OSError(errno.ETIMEDOUT, f"no answer from the agents at {late} within {timeout:g} s")

    def _note_done(self, request: int) -> None:
        if self._progress is not None:
            self._progress.done(request)

    def warm_up(self) -> str:
        """Imports what the first lab would wait for; returns pyroute2's version."""
        import pyroute2

        from lab.agent.changes import links  # noqa: F401  its import is the point

        return str(pyroute2.__version__)

    # nodes

    def node_home(self, read_only: bool = False) -> int:
        """The machine's own stack as a node: what a live host is.  `read_only`: every change of it is refused."""
        handle = self._handle()
        self._nodes[handle] = AgentNode(namespaces.home(), read_only=read_only, is_busy=read_only)
        return handle

    def namespace_path(self, node: int) -> str:
        """Where a program of this machine finds the node's namespace; valid as long as the agent lives."""
        # the machine's own number of this process, also when the agent has a PID namespace of its own
        return f"/proc/{os.readlink('/proc/self')}/fd/{self._namespace_of(node)}"

    def node_close(self, handles: Sequence[int]) -> None:
        """
        The nodes are gone for good; they are really closed when there are MOST_CLOSED of them.

        Closing a tap waits for every CPU, and removing a stack holds the lock that building another one needs: 50 ms
        a lab each, or nothing when it happens once.
        """
        for handle in handles:
            node = self._nodes.pop(handle)
            node.retire()
            self._closed.append(node)
        if len(self._closed) > MOST_CLOSED:
            self.drop_closed()
        elif self._closed and self._collecting(self._closed[-1]):
            # a closed stack repeats its last IGMP reports, and each of them brings back the neighbours on its way
            for node in self._closed:
                node.transport().forget_neighbours()

    def _collecting(self, node: AgentNode) -> bool:
        """Whether the kernel's table of neighbours holds so many that it may remove some."""
        counted = neighbour_table.counts(node.transport())
        return counted["entries"] > counted["collected_from"]

    def drop_closed(self) -> None:
        """The kernel may remove the stacks of closed nodes now."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(MOST_CLOSING) as closing:
            for ended in [closing.submit(node.close) for node in self._closed]:
                ended.result()
        self._closed.clear()

    def note_neighbours(self, nodes: Sequence[int]) -> None:
        """`neighbour_table` gives for these nodes what the kernel refuses from now on."""
        refused = neighbour_table.counts(self._nodes[nodes[0]].transport())["refused"]
        for node in nodes:
            self._nodes[node].refused_before = refused

    def neighbour_table(self, node: int) -> dict[str, Any]:
        """The kernel's table of IPv4 neighbours (`neighbour_table.described`); `refused` since `note_neighbours`."""
        held = self._nodes[node]
        with held.stack.entered():
            found = neighbour_table.described(held.transport())
        before = found["refused"] if held.refused_before is None else held.refused_before
        return {**found, "refused": found["refused"] - before}

    def settle(self, node: int, devices: Sequence[str], timeout: float, addresses: Sequence[str] = ()) -> list[str]:
        """Waits until devices transmit and IPv6 addresses receive; returns those that do not by the deadline (s)."""
        transport = self._nodes[node].transport()
        with self._nodes[node].stack.entered():
            down = awaiting.operational(transport, devices, timeout)
            return down + (awaiting.local_routes(transport, addresses, timeout) if addresses else [])

    def await_entries(
        self, node: int, what: str, wanted: Sequence[dict[str, Any]], timeout: float, present: bool = True
    ) -> list[int]:
        """Waits until a reading of the node has an entry of each kind, or none; returns the others' positions."""
        with self._nodes[node].stack.entered():
            return awaiting.entries(self._nodes[node].transport(), what, wanted, present, timeout)

    def wait_restored(self, node: int, timeout: float) -> bool:
        """Waits until what another agent changed in the node is undone; False when it is not by the deadline (s)."""
        with self._nodes[node].stack.entered():
            return restoring.wait_restored(timeout)

    # taps

    def tap(self, nodes: Sequence[int]) -> None:
        """Captures on every interface of the nodes from now on; what was captured before is forgotten."""
        for node in nodes:
            self._nodes[node].tap().forget()

    def tap_own(self, nodes: Sequence[int], first: int, last: int, vxlan: int) -> None:
        """The taps keep no UDP or TCP of other programs from now on (`tap_filter`)."""
        for node in nodes:
            tap_filter.attach(self._nodes[node].tap().socket, tap_filter.program(first, last, vxlan))

    def tap_ready(self, nodes: Sequence[int]) -> None:
        """Captures on every interface of the nodes; what was captured before is kept."""
        for node in nodes:
            self._nodes[node].tap().make_room()

    def untap(self, nodes: Sequence[int]) -> None:
        """Captures nothing in the nodes until a tap of theirs is asked for again."""
        for node in nodes:
            self._nodes[node].untap()

    def frames(self, nodes: Sequence[int], tags: Sequence[bytes] | None = None) -> list[list[Any]]:
        """
        How many frames the tap of each node had no room for since `tap`, and those that carry any of the tags.

        These in the order of time, each as `[node, interface, outgoing, time in ns, bytes]`.
        """
        seen = [
            [node, interface, outgoing, when, frame]
            for node in nodes
            for interface, outgoing, when, frame in self._nodes[node].tap().matching(tags)
        ]
        return [[self._nodes[node].tap().lost() for node in nodes], sorted(seen, key=lambda frame: frame[3])]

    def wait_frames(
        self, node: int, interface: str, matching: Sequence[Sequence[Any]], tag: bytes, count: int, timeout: float
    ) -> list[Any]:
        """Waits for frames into one interface of a node (`taps.Tap.wait`); as `frames` gives them."""
        seen = self._nodes[node].tap().wait(interface, matching, tag, count, timeout)
        return [[node, interface, outgoing, when, frame] for interface, outgoing, when, frame in seen]
