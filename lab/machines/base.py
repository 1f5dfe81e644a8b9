"""
A machine: one kernel with one agent behind an execnet gateway, wherever it runs.

    machine.call(Agent.verb, argument=...)  one call, one round trip
    machine.batch([call(Agent.verb, ...)])  many calls, one round trip
    machine.tell([call(Agent.verb, ...)])   the same without waiting for the results

A verb is named by the agent's own method, so that a type checker sees its arguments and its result.

Requests are numbered, and so are their answers: the answer to a request whose caller was interrupted is dropped, and
never taken for the answer to the next one.  A refusal by the far kernel arrives as the OSError it was there
(PermissionError, FileExistsError, ...); a machine that is gone as MachineLost.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import execnet

from lab import interrupts
from lab.agent import messages
from lab.agent.datagrams.sockets import Opening as Opening
from lab.agent.datagrams.sockets import SocketKind as SocketKind
from lab.agent.service import Agent as Agent
from lab.agent.state_verbs import StateVerbs
from lab.errors import EnvironmentProblem, MachineLost, OvercastError, TooSlow

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS_TIMEOUT = 5.0
"""Seconds that an agent waits for others: longer than a controller may be farther from one than from another."""
ANSWER_TIMEOUT = 60.0  # seconds; far beyond any verb's own deadline: only a machine that hangs meets it
REMIND_EVERY = 1.0  # seconds

_SILENT: tuple[Callable[..., Any], ...] = (
    *(getattr(Agent, name) for name in vars(StateVerbs) if name[0] != "_" and name != Agent.attempt.__name__),
    *(Agent.accept, Agent.await_done, Agent.await_entries, Agent.close, Agent.frames, Agent.hello),
    *(Agent.neighbour_table, Agent.note_neighbours, Agent.take, Agent.tap, Agent.tap_ready),
    *(Agent.wait_for, Agent.wait_frames),
)
SILENT = frozenset(verb.__name__ for verb in _SILENT)
"""Verbs that send no packets: other machines need not be ready for them."""
_LOCAL: tuple[Callable[..., Any], ...] = (
    *(Agent.close, Agent.frames, Agent.note_neighbours, Agent.open),
    *(Agent.take, Agent.tap, Agent.tap_ready, Agent.wait_for),
)
LOCAL = frozenset(verb.__name__ for verb in _LOCAL)
"""Verbs whose results do not depend on whether other machines have closed sockets and forgotten frames already."""

# runs on the far side before anything of ours can be imported there
BOOTSTRAP = """
import sys
for path in channel.receive():
    if path not in sys.path:
        sys.path.append(path)
from lab.agent.service import serve
serve(channel)
"""


P = ParamSpec("P")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True)
class Call(Generic[Result_co]):
    """One verb of the agent with its arguments, and the type of its result."""

    verb: str
    positional: tuple[Any, ...]
    named: dict[str, Any]


def call(verb: Callable[Concatenate[Any, P], Result], *positional: P.args, **named: P.kwargs) -> Call[Result]:
    return Call(verb.__name__, positional, named)


def is_silent(calls: Iterable[Call[Any]]) -> bool:
    """Whether none of the calls sends packets."""
    return all(wanted.verb in SILENT or _is_quiet_opening(wanted) for wanted in calls)


def _is_quiet_opening(wanted: Call[Any]) -> bool:
    """Whether a socket is opened without memberships, which are reported."""
    return wanted.verb == Agent.open.__name__ and not wanted.named.get("late_options")


class AgentBug(EnvironmentProblem):
    """The agent failed in a way that no kernel refusal explains."""


Refused = Callable[[OSError], "OSError | OvercastError | None"]


@dataclass
class Machine:
    """One kernel and the agent in it.  `kind` is `local`, `guest` or `ssh`; `name` is for messages."""

    kind: str
    name: str
    gateway: Any
    import_paths: Sequence[str]
    on_close: Callable[[], None] = lambda: None
    obituary: Callable[[str], MachineLost] | None = None
    """The error for a machine that is gone, given what was noticed of it; None: that alone."""
    remind: Callable[[], None] = lambda: None
    """Called each second of a wait: a guest that has missed an interrupt looks at its lines again."""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._closed = False
        self.refused: int | None = None
        """The position, in its request, of the call that was refused last; None: in one that no caller waited for."""
        self._requests = 0
        self._delayed: list[tuple[int, list[Any]]] = []
        """The requests that are sent with the next one."""
        self._answers: collections.deque[tuple[int, list[Any], dict[str, Any] | None]] = collections.deque()
        """Those that were received and not looked at yet: one message holds the answers to all that another held."""
        self._one_way: dict[int, Refused] = {}
        """The requests that are not answered yet and that no caller waits for; each with what becomes of a refusal."""
        self._preceded: set[int] = set()
        """The requests that begin with a wait for the peers."""
        self.peers: Sequence[Machine] = ()
        """Other machines of the same lab: what they were sent without waiting is done before this one sends packets."""
        self.peer_addresses: Mapping[str, str] = {}
        """Where their agents answer this one's how far they are, by name; empty: they are waited for here."""
        try:
            self._channel = self.gateway.remote_exec(BOOTSTRAP)
            self._channel.send(list(self.import_paths))
        except OSError as error:
            raise self.lost(f"its agent did not start ({error})") from None
        self.facts = self.hello()

    def call(self, verb: Callable[Concatenate[Any, P], Result], *positional: P.args, **named: P.kwargs) -> Result:
        return self.batch([Call[Result](verb.__name__, positional, named)])[0]

    def hello(self) -> dict[str, Any]:
        """What the machine is, and its time."""
        return self.call(Agent.hello)

    def load_modules(self, *names: str) -> dict[str, str]:
        """Modules that a guest's kernel loads only on request, a host's by itself; why, for those that it cannot."""
        return self.call(Agent.load_modules, names) if self.kind == "guest" else {}

    def unload_modules(self, *names: str) -> None:
        if self.kind == "guest":
            self.call(Agent.unload_modules, names)

    def batch(self, calls: Sequence[Call[Result]], timeout: float = ANSWER_TIMEOUT) -> list[Result]:
        """Results in the order of the calls; the first call that fails ends the batch and is raised."""
        if not self.peer_addresses and not is_silent(calls):
            settle_all(self.peers)
        return self.answer(self.post(calls), timeout)

    def post(self, calls: Sequence[Call[Any]], after: Mapping[int, int] | None = None) -> int:
        """
        Sends calls without waiting; returns the number by which `answer` gives their results, in order of posts.

        `after` are requests of peers, by their `id`, that are to be done first.
        """
        if not LOCAL.issuperset(wanted.verb for wanted in calls):
            for peer in self.peers:
                peer.flush()
        waits = [] if is_silent(calls) and not after else self._await_peers(after or {})
        request = self._delay([*waits, *calls])
        if waits:
            self._preceded.add(request)
        self.flush()
        return request

    def _delay(self, calls: Sequence[Call[Any]]) -> int:
        """Numbers a request, to be sent by `flush`."""
        self._requests += 1
        self._delayed.append((self._requests, [(wanted.verb, wanted.positional, wanted.named) for wanted in calls]))
        return self._requests

    def flush(self) -> None:
        """Sends what was delayed."""
        if self._delayed:
            requests, self._delayed = self._delayed, []
            try:
                self._channel.send(messages.pack(requests))
            except OSError as error:
                self._one_way.clear()  # none of them will be done
                raise self.lost(str(error)) from None

    def _await_peers(self, after: Mapping[int, int]) -> list[Call[None]]:
        """The call by which the agent itself waits for what its peers were sent without waiting."""
        if not self.peer_addresses:
            return []
        requests = [max([*peer._one_way, after.get(id(peer), 0)]) for peer in self.peers]
        waits = [
            (number, self.peer_addresses[peer.name], request)
            for number, (peer, request) in enumerate(zip(self.peers, requests))
            if request
        ]
        return [call(Agent.await_done, waits, PEERS_TIMEOUT)] if waits else []

    def tell(
        self, calls: Sequence[Call[Any]], refused: Refused = lambda refusal: refusal, *, delayed: bool = False
    ) -> None:
        """
        Has calls made before the next request, which raises a failure of theirs: what `refused` makes of it.

        `delayed`: they are LOCAL, and sent with that request, or before another machine is asked for what is not.
        """
        self._one_way[self._delay(calls) if delayed else self.post(calls)] = refused

    @property
    def requests(self) -> int:
        """How many requests there were so far."""
        return self._requests

    def answer(self, request: int, timeout: float = ANSWER_TIMEOUT) -> list[Any]:
        """The results of a request; the first failure of an earlier one-way request is raised instead."""
        failures: list[tuple[OSError | OvercastError, int | None]] = []
        answered = 0
        results: list[Any] = []
        try:
            while answered != request:
                answered, results, failure = self._receive(timeout)
                if answered in self._preceded:
                    self._preceded.discard(answered)
                    results = results[1:]
                if failure is not None and (answered == request or answered in self._one_way):
                    error: OSError | OvercastError | None = self._failure(failure)
                    self.refused = len(results)
                    if answered in self._one_way and isinstance(error, OSError):
                        error = self._one_way[answered](error)
                    failures += [(error, len(results) if answered == request else None)] if error is not None else []
                self._one_way.pop(answered, None)
        except (KeyboardInterrupt, MachineLost):
            self._one_way.clear()  # an answer may have been read and lost just now
            raise
        if failures:
            error, self.refused = failures[0]
            raise error
        return results

    def settle(self, timeout: float = ANSWER_TIMEOUT) -> None:
        """Waits until all one-way requests are done; raises the first failure."""
        self.flush()
        if self._one_way:
            self.answer(max(self._one_way), timeout)

    def _receive(self, timeout: float) -> tuple[int, list[Any], dict[str, Any] | None]:
        """The next answer: the number of its request, the results, and the failure that ended them, if any."""
        if self._answers:
            return self._answers.popleft()
        try:
            message = self._message(timeout)
            self._answers.extend((number, results, failure) for number, results, failure in messages.unpack(message))
        except EOFError:
            raise self.lost("its agent is gone") from None
        except execnet.RemoteError as error:
            raise AgentBug(f"the agent of {self.name} could not start: {str(error).strip().splitlines()[-1]}") from None
        except self._channel.TimeoutError:
            raise self.lost(f"it gave no answer within {timeout:g} s") from None
        except pickle.UnpicklingError as error:
            raise AgentBug(f"{self.name} sent a malformed answer: {error}") from None
        return self._answers.popleft()

    def _message(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > REMIND_EVERY:
            with contextlib.suppress(self._channel.TimeoutError), interrupts.waiting():
                return bytes(self._channel.receive(REMIND_EVERY))
            self.remind()
        with interrupts.waiting():
            return bytes(self._channel.receive(max(0.0, left)))

    def _failure(self, failure: dict[str, Any]) -> OSError | EnvironmentProblem:
        if failure["verb"] == Agent.await_done.__name__:
            self.peer_addresses = {}  # from now on the controller waits for them
            return TooSlow(f"{self.name}: {failure['text']}", remedy="repeat the run")
        if failure["errno"] is None:
            return AgentBug(f"{failure['verb']} on {self.name}: {failure['text']}\n{failure['traceback']}")
        return OSError(failure["errno"], failure["text"] or os.strerror(failure["errno"]))

    def lost(self, why: str) -> MachineLost:
        """The error for this machine being gone, given what was noticed of it."""
        return self.obituary(why) if self.obituary else MachineLost(f"{self.name} was lost: {why}")

    def close(self) -> None:
        """Ends the agent; every namespace that it held goes with it.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        # the machine first: a guest that hangs would keep the gateway waiting for its writer
        self.on_close()
        self.gateway.exit()


def settle_all(machines: Iterable[Machine]) -> None:
    """Waits until the machines have done what they were sent without waiting; raises the first failure."""
    for machine in machines:
        machine.settle()
