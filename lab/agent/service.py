"""
The agent's main loop: verbs called over an execnet channel.

A request is its number and a list of calls `[verb, positional, named]`, done in order until one fails; the answer is
the same number, the list of results and, when one failed, what failed and why.  One request is one round trip, however
many calls it holds.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from lab.agent import (
    awaiting,
    mdb,
    messages,
    modules,
    namespaces,
    procfs,
    programs,
    restoring,
    tap_filter,
    undoing,
)
from lab.agent.node import Node
from lab.agent.occupancy import Occupancy
from lab.agent.running import Running
from lab.agent.talking import Talking

BYTES_OF_STACK = 512 << 10  # measured: what the kernel keeps for a stack with a few devices
MOST_OPEN = 65536  # descriptors; a node with its sockets takes up to eight of them
MOST_CLOSED = min(256, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8 // BYTES_OF_STACK)
"""Stacks of closed nodes that are kept, in an eighth of the machine's memory at most."""


class Agent(Talking):
    """Every public method is a verb; arguments and results are builtins."""

    def __init__(self) -> None:
        super().__init__()
        self._programs: dict[int, Running] = {}
        self._closed: list[Node] = []
        self._occupancy = Occupancy()

    # the machine

    def hello(self) -> dict[str, Any]:
        """What this machine is."""
        return {
            "kernel": platform.release(),
            "python": platform.python_version(),
            # /proc is the host's: its link to this process is the PID that the host knows it by
            "outer_pid": int(os.readlink("/proc/self")),
            "uid": os.geteuid(),
            "time": time.time_ns(),
        }

    def echo(self, token: str) -> str:
        return token

    def claim(self, holder: str, timeout: float) -> str:
        """Takes the machine's own stack for one run; returns who holds it instead (`occupancy.Occupancy.claim`)."""
        return self._occupancy.claim(holder, timeout)

    def warm_up(self) -> str:
        """Imports what the first lab would wait for; returns pyroute2's version."""
        import pyroute2

        from lab.agent import links  # noqa: F401  its import is the point

        return str(pyroute2.__version__)

    def pin(self, cpu: int) -> None:
        """Stays on one CPU from now on: packets queued per CPU (netif_rx) keep their order then; fences rely on it."""
        os.sched_setaffinity(0, {cpu})

    def private_run(self) -> None:
        namespaces.private_run()

    def load_modules(self, names: Sequence[str]) -> dict[str, str]:
        """Loads kernel modules on a machine that is ours (a guest); returns why, by name, for those that it cannot."""
        return modules.load(list(names))

    def unload_modules(self, names: Sequence[str]) -> None:
        """Removes kernel modules from a machine that is ours (a guest)."""
        modules.unload(list(names))

    # nodes

    def node_create(self, names: Sequence[str]) -> list[int]:
        """New stacks, each with `lo` up."""
        handles = []
        for name in names:
            handle = self._handle()
            self._nodes[handle] = Node(namespaces.create(name))
            self._nodes[handle].links(self._namespace_of).apply([("link_set", {"device": "lo", "up": True})])
            handles.append(handle)
        return handles

    def node_home(self) -> int:
        """The machine's own stack as a node: what a live host is."""
        handle = self._handle()
        self._nodes[handle] = Node(namespaces.home())
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

    def drop_closed(self) -> None:
        """The kernel may remove the stacks of closed nodes now."""
        for node in self._closed:
            node.close()
        self._closed.clear()

    def wait_gone(self, node: int, devices: Sequence[str], timeout: float) -> list[str]:
        """Waits until the devices are no more; returns those that still are at the deadline (s)."""
        with self._nodes[node].stack.entered():
            return self._nodes[node].transport().wait_gone(devices, timeout)

    def settle(self, node: int, devices: Sequence[str], timeout: float) -> list[str]:
        """Waits until the devices transmit; returns those that do not by the deadline (s)."""
        with self._nodes[node].stack.entered():
            return self._nodes[node].transport().wait_operational(devices, timeout)

    def ask_anew(self, node: int) -> None:
        """Forgets the neighbours that the node has found or looked for (`node.Node.ask_anew`)."""
        self._nodes[node].ask_anew()

    def wait_neighbour(self, node: int, device: str, to: str, states: int, timeout: float) -> int:
        """Waits until an IPv4 neighbour is in one of the states; returns its state (`awaiting.neighbour`)."""
        with self._nodes[node].stack.entered():
            return awaiting.neighbour(self._nodes[node].transport(), device, to, states, timeout)

    def port_states(
        self, node: int, device: str, changes: Sequence[Any], last: int, timeout: float
    ) -> awaiting.PortStates:
        """Makes changes; returns the states that a bridge port then goes through (`awaiting.port_states`)."""
        with self._nodes[node].stack.entered():
            change = functools.partial(self.apply, node, changes)
            return awaiting.port_states(self._nodes[node].transport(), device, change, last, timeout)

    def wait_held(self, node: int, address: str, held: bool, timeout: float) -> bool:
        """Waits until the node has an IPv4 address, or has it no more; False when the deadline (s) passed first."""
        with self._nodes[node].stack.entered():
            return self._nodes[node].transport().wait_held(address, held, timeout)

    def wait_link_local(self, node: int, device: str, timeout: float) -> bool:
        """Waits until a device has a usable IPv6 link-local address (`awaiting.link_local`)."""
        with self._nodes[node].stack.entered():
            return awaiting.link_local(device, timeout)

    def wait_mdb(self, node: int, group: str, ports: Sequence[str], present: bool, timeout: float) -> list[str]:
        """Waits until a node's bridge lists each of the ports for a group, or none; returns the others (`mdb.wait`)."""
        with self._nodes[node].stack.entered():
            return mdb.wait(self._nodes[node].transport(), group, ports, present, timeout)

    def apply(self, node: int, changes: Sequence[Any]) -> None:
        """Changes of links, addresses, routes, neighbours, bridge ports and filters (`links.Links`)."""
        self._nodes[node].renaming()
        target = self._nodes[node].log or self._nodes[node].links(self._namespace_of)
        target.apply([(verb, fields) for verb, fields in changes])

    def undoable(self, node: int) -> None:
        """Every change of the node from now on is undone by `undo`, or by the end of this agent, whatever ends it."""
        held = self._nodes[node]
        held.log = undoing.Log(held.stack, held.transport(), held.links(self._namespace_of))

    def wait_restored(self, node: int, timeout: float) -> bool:
        """Waits until what another agent changed in the node is undone; False when it is not by the deadline (s)."""
        with self._nodes[node].stack.entered():
            return restoring.wait_restored(timeout)

    def undo(self, node: int) -> list[dict[str, str]]:
        """Undoes every change since `undoable`; returns what could not be undone as `command` and `error`."""
        log, self._nodes[node].log = self._nodes[node].log, None
        return log.undo() if log else []

    def sysctl_write(self, node: int, values: dict[str, str]) -> dict[str, str]:
        """Sets parameters; returns what they were."""
        if log := self._nodes[node].log:
            return log.write_sysctls(values)
        with self._nodes[node].stack.entered():
            return {name: procfs.write_sysctl(name, value) for name, value in values.items()}

    def run(self, node: int, arguments: Sequence[str], timeout: float = 30.0) -> dict[str, Any]:
        self._nodes[node].renaming()
        with self._nodes[node].stack.entered():
            return programs.run(arguments, timeout)

    def program_start(self, node: int, arguments: Sequence[str], files: dict[str, str]) -> int:
        """Starts a program that runs until it is stopped or its node is closed; the files are in its own /run."""
        started = Running(self._nodes[node].stack, arguments, files)
        self._nodes[node].programs.append(started)
        handle = self._handle()
        self._programs[handle] = started
        return handle

    def program_await(self, program: int, text: str, timeout: float) -> dict[str, Any]:
        """Waits until the program says something (`running.Running.await_output`)."""
        return self._programs[program].await_output(text, timeout)

    def program_output(self, program: int) -> str:
        return self._programs[program].output()

    def program_stop(self, program: int, signal: int) -> str:
        """Ends the program by a signal; returns all that it said."""
        return self._programs[program].stop(signal)

    # taps

    def tap(self, nodes: Sequence[int]) -> None:
        """Captures on every interface of the nodes from now on; what was captured before is forgotten."""
        for node in nodes:
            self._nodes[node].tap().forget()

    def tap_own(self, nodes: Sequence[int], first: int, last: int, vxlan: int) -> None:
        """The taps keep no UDP or TCP of other programs from now on (`tap_filter`)."""
        for node in nodes:
            tap_filter.attach(self._nodes[node].tap().socket, first, last, vxlan)

    def tap_ready(self, nodes: Sequence[int]) -> None:
        """Captures on every interface of the nodes; what was captured before is kept."""
        for node in nodes:
            self._nodes[node].tap().drain()

    def frames(self, nodes: Sequence[int], tags: Sequence[bytes] | None = None) -> list[Any]:
        """
        What the taps of the nodes saw that carries any of the tags, in the order of time.

        Each frame as `[node, interface, outgoing, time in ns, bytes]`.
        """
        seen = [
            [node, interface, outgoing, when, frame]
            for node in nodes
            for interface, outgoing, when, frame in self._nodes[node].tap().matching(tags)
        ]
        return sorted(seen, key=lambda frame: frame[3])

    def frames_lost(self, nodes: Sequence[int]) -> list[int]:
        """How many frames the tap of each node had no room for since `tap` (`taps.Tap.lost`)."""
        return [self._nodes[node].tap().lost() for node in nodes]

    def wait_frames(
        self, node: int, interface: str, matching: Sequence[Sequence[Any]], tag: bytes, count: int, timeout: float
    ) -> list[Any]:
        """Waits for frames into one interface of a node (`taps.Tap.wait`); as `frames` gives them."""
        seen = self._nodes[node].tap().wait(interface, matching, tag, count, timeout)
        return [[node, interface, outgoing, when, frame] for interface, outgoing, when, frame in seen]


def _allow_descriptors() -> None:
    """Raises the limit of open descriptors (1024 by default) as far as allowed: a lab of 250 spokes needs 2000."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((MOST_OPEN, max(hard, MOST_OPEN)), (min(hard, MOST_OPEN), hard)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return


def serve(channel: Any) -> None:
    """Answers until the other side closes the channel."""
    sys.setswitchinterval(0.001)
    _allow_descriptors()
    agent = Agent()
    for message in channel:
        request, calls = messages.unpack(message)
        results: list[Any] = []
        failure = None
        for verb, positional, named in calls:
            try:
                results.append(getattr(agent, verb)(*positional, **named))
            except OSError as error:
                failure = {"errno": error.errno or 0, "text": error.strerror or str(error), "verb": verb}
                break
            except Exception as error:  # an answer must be given, or the caller would wait for ever
                failure = {"errno": None, "text": repr(error), "verb": verb, "traceback": traceback.format_exc()}
                break
        if failure is not None:
            # whoever called is told of the failure alone, and could never close these
            agent.close([handle for (verb, *_), handle in zip(calls, results) if verb == "open"])
        channel.send(messages.pack((request, results, failure)))
