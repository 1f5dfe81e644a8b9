"""
The agent: every verb, and the loop in which they are called over an execnet channel.

A request is its number and a list of calls `[verb, positional, named]`, done in order until one fails; the answer is
the same number, the list of results and, when one failed, what failed and why.  A message holds requests, and one
message answers them all: one round trip, however many requests and calls it holds.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import resource
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from lab.agent import awaiting, messages, modules, namespaces
from lab.agent.changes import undoing
from lab.agent.execution import programs
from lab.agent.execution.background_programs import BackgroundProgram
from lab.agent.machine_verbs import MachineVerbs
from lab.agent.node import AgentNode
from lab.agent.stack import procfs

MOST_OPEN = 65536  # descriptors; a node with its sockets takes up to eight of them


class Agent(MachineVerbs):
    """Every public method is a verb; arguments and results are builtins.  Those of this class make changes."""

    def __init__(self) -> None:
        super().__init__()
        self._programs: dict[int, BackgroundProgram] = {}

    def _perform(self, verb: str, positional: Sequence[Any], named: dict[str, Any]) -> Any:
        if not hasattr(MachineVerbs, verb):
            self._refuse_read_only(verb, positional[0] if positional else named.get("node"))
        return super()._perform(verb, positional, named)

    def _refuse_read_only(self, verb: str, node: Any) -> None:
        """A change of a read-only node is refused, and one of its whole machine."""
        held = self._nodes.get(node) if isinstance(node, int) else None
        concerned = self._nodes.values() if held is None else (held,)
        if any(each.read_only for each in concerned):
            raise OSError(errno.EROFS, f"it is read-only, and {verb} would change it")

    # the machine

    def pin(self, cpu: int) -> None:
        """
        Stays on one CPU from now on, with a /run of its own (`namespaces.private_folders`).

        Packets queued per CPU (netif_rx) keep their order then; fences rely on it.
        """
        os.sched_setaffinity(0, {cpu})
        namespaces.private_folders()

    def load_modules(self, names: Sequence[str]) -> dict[str, str]:
        """Loads kernel modules on a machine that is ours (a guest); returns why, by name, for those that it cannot."""
        return modules.load(list(names))

    def unload_modules(self, names: Sequence[str]) -> None:
        """Removes kernel modules from a machine that is ours (a guest)."""
        modules.unload(list(names))

    # nodes

    def node_create(self, names: Sequence[str], busy: Sequence[str] = ()) -> list[int]:
        """New stacks, each with `lo` up; the captures of the `busy` ones have room for a large number of frames."""
        handles = []
        for name in names:
            handle = self._handle()
            self._nodes[handle] = AgentNode(namespaces.create(name), is_busy=name in busy)
            self._nodes[handle].links(self._namespace_of).apply([("link_set", {"device": "lo", "up": True})])
            handles.append(handle)
        return handles

    def forget_neighbours(self, node: int) -> None:
        """Forgets the neighbours that the node has found or looked for (`node.Node.forget_neighbours`)."""
        self._nodes[node].forget_neighbours()

    def port_states(
        self, node: int, device: str, changes: Sequence[Any], last: str, timeout: float
    ) -> awaiting.PortStates:
        """Makes changes; returns the states that a bridge port then goes through (`awaiting.port_states`)."""
        with self._nodes[node].stack.entered():
            change = functools.partial(self.apply, node, changes)
            return awaiting.port_states(self._nodes[node].transport(), device, change, last, timeout)

    def apply(self, node: int, changes: Sequence[Any]) -> None:
        """Changes of links, addresses, routes, neighbours, bridge ports and filters (`links.Links`)."""
        self._nodes[node].renaming()
        target = self._nodes[node].log or self._nodes[node].links(self._namespace_of)
        target.apply([(verb, fields) for verb, fields in changes])

    def undoable(self, node: int) -> None:
        """Every change of the node from now on is undone by `undo`, or by the end of this agent, whatever ends it."""
        held = self._nodes[node]
        held.log = undoing.Log(held.stack, held.transport(), held.links(self._namespace_of))

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
        started = BackgroundProgram(self._nodes[node].stack, arguments, files)
        self._nodes[node].programs.append(started)
        handle = self._handle()
        self._programs[handle] = started
        return handle

    def program_await(self, program: int, text: str, timeout: float) -> dict[str, Any]:
        """Waits until the program prints something (`running.Running.await_output`)."""
        return self._programs[program].await_output(text, timeout)

    def program_stop(self, program: int, signal: int) -> str:
        """Ends the program by a signal; returns all that it said."""
        return self._programs[program].stop(signal)


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
        answers = []
        for request, calls in messages.unpack(message):
            answers.append((request, *_done(agent, calls)))
            agent._note_done(request)
        channel.send(messages.pack(answers))


def _done(agent: Agent, calls: Sequence[Any]) -> tuple[list[Any], dict[str, Any] | None]:
    """Makes the calls of a request; returns their results and, when one failed, what failed and why."""
    results: list[Any] = []
    failure: dict[str, Any] | None = None
    for verb, positional, named in calls:
        try:
            results.append(agent._perform(verb, positional, named))
        except OSError as error:
            failure = {"errno": error.errno or 0, "text": error.strerror or str(error), "verb": verb}
            break
        except Exception as error:  # an answer must be given, or the caller would wait for ever
            failure = {"errno": None, "text": repr(error), "verb": verb, "traceback": traceback.format_exc()}
            break
    if failure is not None:
        # the caller receives the failure alone, and could never close these
        agent.close([handle for (verb, *_), handle in zip(calls, results) if verb == "open"])
    return results, failure
