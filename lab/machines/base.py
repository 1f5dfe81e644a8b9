"""
A machine: one kernel with one agent behind an execnet gateway, wherever it runs.

    Machine.call("verb", argument=...)      one call, one round trip
    Machine.batch([Call(...), ...])         many calls, one round trip
    Machine.tell([Call(...), ...])          the same, and nobody waits for it

A refusal by the far kernel arrives as the OSError it was there (PermissionError, FileExistsError, ...); a machine that
is gone as MachineLost.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import execnet

from lab.agent import messages
from lab.errors import EnvironmentProblem, MachineLost

ROOT = Path(__file__).resolve().parent.parent.parent
ANSWER_TIMEOUT = 60.0  # seconds; far beyond any verb's own deadline: only a machine that hangs meets it

# runs on the far side before anything of ours can be imported there
BOOTSTRAP = """
import sys
for path in channel.receive():
    if path not in sys.path:
        sys.path.append(path)
from lab.agent.service import serve
serve(channel)
"""


class Call(NamedTuple):
    """One verb of the agent with its arguments."""

    verb: str
    arguments: dict[str, Any]


def call(verb: str, **arguments: Any) -> Call:
    return Call(verb, arguments)


class AgentBug(EnvironmentProblem):
    """The agent failed in a way that no kernel refusal explains."""


@dataclass
class Machine:
    """One kernel and the agent in it.  `kind` is `local`, `guest` or `ssh`; `name` is for messages."""

    kind: str
    name: str
    gateway: Any
    import_paths: Sequence[str]
    on_close: Callable[[], None] = lambda: None
    autopsy: Callable[[], str] = lambda: ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._closed = False
        self._owed: collections.deque[bool] = collections.deque()
        """Of each answer that is still to come, whether somebody waits for it."""
        try:
            self._channel = self.gateway.remote_exec(BOOTSTRAP)
            self._channel.send(list(self.import_paths))
        except OSError as error:
            raise self._lost(f"its agent did not start ({error})") from None
        self.facts = self.call("hello")

    def call(self, verb: str, **arguments: Any) -> Any:
        return self.batch([Call(verb, arguments)])[0]

    def batch(self, calls: Sequence[Call], timeout: float = ANSWER_TIMEOUT) -> list[Any]:
        """Results in the order of the calls; the first call that fails ends the batch and is raised."""
        self.post(calls)
        return self.answer(timeout)

    def post(self, calls: Sequence[Call]) -> None:
        """Sends calls without waiting: `answer` gives their results, in the order of the posts."""
        self._send(calls, wanted=True)

    def tell(self, calls: Sequence[Call]) -> None:
        """Has calls made before whatever is asked next; a failure of theirs is raised by that."""
        self._send(calls, wanted=False)

    def answer(self, timeout: float = ANSWER_TIMEOUT) -> list[Any]:
        try:
            self.told(timeout)
        except (OSError, AgentBug):
            # unread, this question's own answer would be taken for that to the next one
            with contextlib.suppress(OSError, AgentBug):
                self._next(timeout)
            raise
        return self._next(timeout)

    def told(self, timeout: float = ANSWER_TIMEOUT) -> None:
        """Waits until what it was told is done; the first failure is raised when nothing of it is owed any more."""
        failure: OSError | AgentBug | None = None
        while self._owed and not self._owed[0]:
            try:
                self._next(timeout)
            except (OSError, AgentBug) as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _next(self, timeout: float) -> list[Any]:
        if self._owed:
            self._owed.popleft()
        return self._receive(timeout)

    def _send(self, calls: Sequence[Call], *, wanted: bool) -> None:
        try:
            self._channel.send(messages.pack([(verb, arguments) for verb, arguments in calls]))
        except OSError as error:
            raise self._lost(str(error)) from None
        self._owed.append(wanted)

    def _receive(self, timeout: float) -> list[Any]:
        try:
            results, failure = messages.unpack(self._channel.receive(timeout))
        except EOFError:
            raise self._lost("its agent is gone") from None
        except execnet.RemoteError as error:
            raise AgentBug(f"the agent of {self.name} could not start: {str(error).strip().splitlines()[-1]}") from None
        except self._channel.TimeoutError:
            raise self._lost(f"it gave no answer within {timeout:g} s") from None
        except pickle.UnpicklingError as error:
            raise AgentBug(f"{self.name} answered in a way that no agent does: {error}") from None
        if failure is None:
            return list(results)
        if failure["errno"] is None:
            raise AgentBug(f"{failure['verb']} on {self.name}: {failure['text']}\n{failure['traceback']}")
        raise OSError(failure["errno"], failure["text"] or os.strerror(failure["errno"]))

    def catch_up(self, timeout: float = ANSWER_TIMEOUT) -> None:
        """Drops the answers that an interrupted caller did not wait for: the next answer is to the next question."""
        token = secrets.token_hex(8)
        self.post([call("echo", token=token)])
        self._owed.clear()
        answers: list[Any] = []
        while answers != [token]:
            with contextlib.suppress(OSError, AgentBug):
                answers = self._receive(timeout)

    def _lost(self, why: str) -> MachineLost:
        said = self.autopsy()
        return MachineLost(f"{self.name} was lost: {why}" + (f"\nits last words:\n{said}" if said else ""))

    def close(self) -> None:
        """Ends the agent; every namespace that it held goes with it.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        # the machine first: a guest that hangs would keep the gateway waiting for its writer
        self.on_close()
        self.gateway.exit()
