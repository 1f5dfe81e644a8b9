"""
A node: one network stack on a machine, as the rest of the library handles it.

Changes for the length of a `with` are undone at its end, in reverse order, whatever happened inside.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate

from lab.errors import CheckFailed, EnvironmentProblem, MachineLost, NotApplicable, RootNeeded
from lab.machines.base import Agent as Agent
from lab.machines.base import Call, Machine, P, Result, call, is_silent, settle_all
from lab.model import Change
from lab.output.steps import STEPS, in_words
from lab.stack.records import Link, typed

if TYPE_CHECKING:
    from typing_extensions import Self  # mypy brings it


@dataclass(frozen=True)
class Node:
    """A network stack: `handle` is its number at the machine's agent."""

    name: str
    machine: Machine
    handle: int
    read_only: ClassVar[bool] = False

    @classmethod
    def create(cls, machine: Machine, *names: str, busy: Collection[str] = ()) -> dict[str, Self]:
        """Stacks of their own, each with `lo` up; what most packets of a large lab pass is `busy`."""
        handles = machine.call(Agent.node_create, names, [name for name in names if name in busy])
        return {name: cls(name, machine, handle) for name, handle in zip(names, handles)}

    @classmethod
    def home(cls, name: str, machine: Machine) -> Self:
        """A machine's own stack: what a live host is."""
        return cls(name, machine, machine.call(Agent.node_home, cls.read_only))

    def ask(self, verb: Callable[Concatenate[Any, int, P], Result], *positional: P.args, **named: P.kwargs) -> Result:
        """The result of a verb whose first argument is a node: this one."""
        try:
            return self.machine.batch([self.call(verb, *positional, **named)])[0]
        except OSError as refusal:
            raise _named(refusal, [self], self.machine) from None

    def call(
        self, verb: Callable[Concatenate[Any, int, P], Result], *positional: P.args, **named: P.kwargs
    ) -> Call[Result]:
        """The same as `ask`, for a batch."""
        return Call(verb.__name__, (self.handle, *positional), named)

    def apply(self, *changes: Change) -> None:
        """Changes links, addresses, routes, neighbours, bridge ports, filters (verbs of the agent's `links`)."""
        STEPS.note("arrange", in_words(self.name, changes))
        self.ask(Agent.apply, changes=list(changes))

    @contextlib.contextmanager
    def changed(self, change: Change, undo: Change | Sequence[Change]) -> Iterator[None]:
        """One change that lasts as long as the block."""
        undoing = [undo] if isinstance(undo, tuple) else list(undo)
        self.apply(change)
        try:
            yield
        finally:
            self.apply(*undoing)

    def read(self, what: str) -> list[Any]:
        return list(typed(what, self.ask(Agent.read, what=what)))

    def link(self, device: str) -> Link:
        """One link; CheckFailed when there is none of that name."""
        return self.links(device)[0]

    def links(self, *devices: str) -> list[Link]:
        """The links of these names, by one reading; CheckFailed when there is none of a name."""
        found: dict[str, Link] = {link.name: link for link in self.read("links")}
        for device in devices:
            if device not in found:
                raise CheckFailed(f"{self.name} has no device {device}")
        return [found[device] for device in devices]

    def has_link(self, device: str) -> bool:
        return any(link.name == device for link in self.read("links"))

    def statistics(self, device: str) -> Mapping[str, int]:
        return self.link(device).statistics

    def sysctl(self, name: str) -> str | None:
        """The value, None when this kernel has no such parameter."""
        return self.ask(Agent.sysctl_read, names=[name])[name]

    def write_sysctls(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Sets parameters; returns what they were."""
        STEPS.note("arrange", f"{self.name}: " + ", ".join(f"{name}={value}" for name, value in values.items()))
        return self.ask(Agent.sysctl_write, values={name: str(value) for name, value in values.items()})

    @contextlib.contextmanager
    def with_sysctl(self, name: str, value: Any) -> Iterator[None]:
        before = self.write_sysctls({name: value})
        try:
            yield
        finally:
            self.write_sysctls(before)

    def device_to(self, address: str, source: str = "", device: str = "") -> str:
        """The device by which the kernel sends a packet to an address; empty when it would refuse to."""
        return self.ask(Agent.device_to, to=address, source=source, device=device)

    def read_net(self, name: str) -> str:
        """A file of /proc/net as text; empty when this kernel has none."""
        return self.ask(Agent.read_net, name)

    def counters(self) -> dict[str, int]:
        """SNMP counters under nstat's names."""
        return self.ask(Agent.counters)

    def run(self, *arguments: str, timeout: float = 30.0) -> dict[str, Any]:
        """
        Runs a program inside the node: `status` (None: not installed), `output`, `errors`.

        EnvironmentProblem when it does not end within `timeout` seconds.
        """
        STEPS.note("arrange", f"{self.name}: {' '.join(arguments)}")
        try:
            return self.ask(Agent.run, arguments=arguments, timeout=timeout)
        except TimeoutError as late:
            raise EnvironmentProblem(str(late.strerror)) from None


NEEDING_ROOT = frozenset({Agent.inject.__name__, Agent.wait_frames.__name__})


@dataclass(frozen=True)
class Observed(Node):
    """A node of a live host: it is looked at and sent from, and its agent refuses every change."""

    read_only = True

    @property
    def rooted(self) -> bool:
        """Whether the agent there may capture and open raw sockets."""
        return bool(self.machine.facts["uid"] == 0)

    def call(
        self, verb: Callable[Concatenate[Any, int, P], Result], *positional: P.args, **named: P.kwargs
    ) -> Call[Result]:
        asked = super().call(verb, *positional, **named)
        if (asked.verb in NEEDING_ROOT or asked.named.get("type") == socket.SOCK_RAW) and not self.rooted:
            raise RootNeeded("captures and raw sockets", self.name)
        return asked


def close(machine: Machine, nodes: Iterable[Node]) -> None:
    """Drops stacks that were created; the kernel removes what is in them."""
    machine.call(Agent.node_close, [node.handle for node in nodes])


def ask_all(calls: Sequence[tuple[Node, Call[Result]]]) -> list[Result]:
    """
    Calls on many nodes, one batch per machine, all machines at once; results in the order of the calls.

    A refusal is raised after every machine has answered.
    """
    batches = _batches(calls)
    called = {id(machine) for machine, _, _ in batches}
    if not is_silent(wanted for _, wanted in calls):
        waiting = [machine for machine, _, _ in batches[:1] if not machine.peer_addresses]
        settle_all(peer for machine in waiting for peer in machine.peers if id(peer) not in called)
    return _answers(calls, *_post(calls))


def ask_in_turn(
    first: Sequence[tuple[Node, Call[Any]]], then: Sequence[tuple[Node, Call[Any]]]
) -> tuple[list[Any], list[Any]]:
    """Results of calls, and of others made when all of the first are done: one round trip if nodes are `in_order`."""
    posted, refusal = _post(first)
    done = {id(machine): request for machine, request, _ in posted}
    later = _post(then, done) if refusal is None else ([], refusal)
    return _answers(first, posted, refusal), _answers(then, *later)


Posted = list[tuple[Machine, int, list[int]]]
"""Requests that are under way, each with the positions of its calls."""


def _post(
    calls: Sequence[tuple[Node, Call[Any]]], after: Mapping[int, int] | None = None
) -> tuple[Posted, EnvironmentProblem | None]:
    """Sends each machine its calls; also returns why one could not be sent any."""
    posted: Posted = []
    refusal: EnvironmentProblem | None = None
    for machine, positions, batch in _batches(calls):
        try:
            posted.append((machine, machine.post(batch, after), positions))
        except EnvironmentProblem as error:
            refusal = refusal or error
    return posted, refusal


def _answers(calls: Sequence[tuple[Node, Call[Any]]], posted: Posted, refusal: BaseException | None) -> list[Any]:
    """The results in the order of the calls; a refusal is raised after every machine has answered."""
    results: list[Any] = [None] * len(calls)
    for machine, request, positions in posted:
        try:
            answers = machine.answer(request)
        except OSError as error:
            refusal = refusal or _named(error, [calls[position][0] for position in positions], machine)
            continue
        except EnvironmentProblem as error:
            # one that is gone explains what the others waited for in vain
            refusal = error if isinstance(error, MachineLost) else refusal or error
            continue
        for position, result in zip(positions, answers, strict=True):
            results[position] = result
    if refusal is not None:
        raise refusal
    return results


def _named(refusal: OSError, asked: Sequence[Node], machine: Machine) -> OSError | NotApplicable:
    """An error that names the node at which it was raised; one of a one-way request is unchanged."""
    if machine.refused is None:
        return refusal
    node = asked[machine.refused]
    if node.read_only and refusal.errno == errno.EROFS:
        return NotApplicable(f"{node.name}: {refusal.strerror}")
    return OSError(refusal.errno, f"{node.name}: {refusal.strerror}")


def tell_all(calls: Sequence[tuple[Node, Call[Any]]], *, delayed: bool = False) -> None:
    """
    Calls on many nodes that are made before whatever these are asked next, without waiting for the results.

    `delayed` as `Machine.tell` has it.
    """
    for machine, positions, batch in _batches(calls):
        nodes = [calls[position][0] for position in positions]
        machine.tell(batch, functools.partial(_named, asked=nodes, machine=machine), delayed=delayed)


def in_order(nodes: Iterable[Node]) -> bool:
    """Whether one-way requests are done before packets of other nodes arrive, without a wait on this side."""
    machines = list({id(node.machine): node.machine for node in nodes}.values())
    return all(machine.peer_addresses for machine in machines) or (len(machines) == 1 and not machines[0].peers)


def do_all(calls: Sequence[tuple[Node, Call[Any]]]) -> None:
    """Calls on nodes that are made before packets of other nodes reach them; waits for them only if it has to."""
    if in_order(node for node, _ in calls):
        tell_all(calls)
    else:
        ask_all(calls)


def by_machine(nodes: Iterable[Node]) -> list[list[Node]]:
    """The nodes of each machine."""
    found: dict[int, list[Node]] = {}
    for node in nodes:
        found.setdefault(id(node.machine), []).append(node)
    return list(found.values())


def _batches(calls: Sequence[tuple[Node, Call[Any]]]) -> list[tuple[Machine, list[int], list[Call[Any]]]]:
    """Each machine with the positions of its calls, and the calls."""
    found: dict[int, tuple[Machine, list[int], list[Call[Any]]]] = {}
    for position, (node, wanted) in enumerate(calls):
        _, positions, batch = found.setdefault(id(node.machine), (node.machine, [], []))
        positions.append(position)
        batch.append(wanted)
    return list(found.values())


def try_all(calls: Sequence[tuple[Node, Call[Any]]]) -> list[tuple[Any, str | None]]:
    """
    As `ask_all`, each call for itself: its result and None, or None and why it was refused.

    A machine that is lost refuses all of its calls.
    """
    wrapped = [(node, call(Agent.attempt, of.verb, of.positional, of.named)) for node, of in calls]
    try:
        return [(result, why) for result, why in ask_all(wrapped)]
    except (OSError, EnvironmentProblem):
        pass  # one of several machines: which of them is found out by asking each
    results: list[tuple[Any, str | None]] = [(None, None)] * len(calls)
    for _, positions, _ in _batches(calls):
        try:
            answers = [(result, why) for result, why in ask_all([wrapped[position] for position in positions])]
        except (OSError, EnvironmentProblem) as error:
            answers = [(None, str(error))] * len(positions)
        for position, answer in zip(positions, answers):
            results[position] = answer
    return results
