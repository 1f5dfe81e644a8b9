"""
The commands that a shell's script runs, as far as they are certain, with their parameters replaced.

A branch whose condition is known is followed; of one that is not known each command has a `doubt`.  Commands that
make or change something (`ACTIONS`) are taken to succeed, and programs to end.  A device that a script tests for is
missing at boot unless the script has made it (`unless`: nothing else makes it).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab.agent.boot import devices
from lab.agent.boot.base import BootObstacle, ShellCommand
from lab.agent.boot.shell import effects, expansion, grammar, loops, tree
from lab.agent.boot.shell.state import UNKNOWN, YES, Exit, Field, Leave, Return, ShellState, Status
from lab.agent.boot.shell.tree import (
    AndOr,
    CaseClause,
    For,
    Function,
    Group,
    If,
    Loop,
    Pipeline,
    Redirection,
    Simple,
    Word,
)

MOST, DEEPEST = 4000, 12


class Shell:
    """One shell, or a function of it.  `call` runs one command; `commands` has those that exist."""

    def __init__(
        self,
        state: ShellState,
        path: str,
        args: Sequence[str | None] | None,
        call: Callable[[Shell, Sequence[Field], Sequence[Redirection], bool], Status],
        variables: Mapping[str, str | None] | None = None,
    ) -> None:
        self.state, self.path, self.args, self._call = state, path, args, call
        self.variables: dict[str, str | None] = dict(variables or {})
        self.functions: dict[str, Any] = {}
        self.aliases: set[str] = set()
        self.options: set[str] = set()
        self.doubt = ""
        self.obstacle: BootObstacle = None
        self.unless: tuple[str, ...] = ()
        self.left: dict[type[Leave], str] = {}
        """Why what follows may not run, up to the end of the shell, the function or the loop."""
        self.depth, self.ignoring = 0, 0
        self.trap = ""

    def inner(self, path: str = "", args: Sequence[str | None] | None = None) -> Shell:
        """A shell that this one starts."""
        shell = Shell(self.state, path or self.path, args if path else self.args, self._call, self.variables)
        shell.functions, shell.options = ({}, set()) if path else (dict(self.functions), set(self.options))
        shell.aliases = set() if path else set(self.aliases)
        shell.doubt, shell.obstacle, shell.unless = self.doubts, self.obstacle, self.unless
        shell.depth, shell.ignoring = self.depth + 1, 0 if path else self.ignoring
        return shell

    @property
    def doubts(self) -> str:
        return self.doubt or next(iter(self.left.values()), "")

    def emit(self, text: str, *, opaque: bool = False) -> None:
        """Adds a command."""
        if len(self.state.commands) < MOST:
            made = ShellCommand(text, self.path, self.doubts, self.unless, self.obstacle, opaque)
            self.state.commands.append(made)

    # texts

    def run(self, text: str) -> Status:
        """A text to the end of the shell."""
        try:
            status = self.evaluate(text)
        except Leave:
            status = UNKNOWN
        if self.trap:
            trapped, self.trap = self.trap, ""
            self.branch(lambda: self.evaluate(trapped), "it is in a trap", keep=False)
        return status

    def evaluate(self, text: str) -> Status:
        """A text in this shell."""
        if self.depth > DEEPEST or len(self.state.commands) >= MOST:
            self.emit(text, opaque=True)
            return UNKNOWN
        try:
            lists = grammar.parsed(text)
        except (tree.SyntaxProblem, RecursionError):
            self.emit(text, opaque=True)
            return UNKNOWN
        return self.lists(lists)

    def lists(self, lists: Sequence[AndOr]) -> Status:
        status = YES
        for one in lists:
            if one.background:
                self.branch(lambda one=one: self._and_or(one), "it runs in the background", keep=False)  # type: ignore[misc]
                status = YES
                continue
            status = self._and_or(one)
        return status

    def _and_or(self, one: AndOr) -> Status:
        status = YES
        for number, (operator, pipeline) in enumerate(one.parts):
            last = number == len(one.parts) - 1
            if not last or pipeline.negated:
                self.ignoring += 1
            try:
                status = self._chosen(operator, pipeline, status) if operator else self._pipeline(pipeline)
            finally:
                if not last or pipeline.negated:
                    self.ignoring -= 1
        if not one.parts[-1][1].negated and (one.parts[-1][0] != "&&" or status.holds is None):
            self._checked(status)
        return status

    def _chosen(self, operator: str, pipeline: Pipeline, before: Status) -> Status:
        """A pipeline after `&&` or `||`."""
        wanted = before if operator == "&&" else before.negated()
        if wanted.holds is True:
            return self.under(wanted, lambda: self._pipeline(pipeline))
        if wanted.holds is False:
            self.passed_by(wanted, lambda: self._pipeline(pipeline))
            return before
        after = self.branch(lambda: self._pipeline(pipeline), self.why)
        return after if after.holds is (operator == "||") else UNKNOWN

    why = "it is in a branch"

    def _checked(self, status: Status) -> None:
        """`set -e`."""
        if "e" not in self.options or self.ignoring or (status.holds is True):
            return
        if status.holds is False and not status.presumed and not status.absent:
            raise Exit
        self.left.setdefault(Exit, "`set -e` may end the script before it")

    # branches

    def under(self, status: Status, body: Callable[[], Status]) -> Status:
        """What runs because of a status."""
        before, self.unless = self.unless, (*self.unless, *status.absent)
        try:
            return body()
        finally:
            self.unless = before

    def passed_by(self, status: Status, body: Callable[[], Status]) -> None:
        """What does not run because of a status, as far as that is certain."""
        if status.absent or status.presumed:
            variables, left = dict(self.variables), dict(self.left)
            count = len(self.state.commands)
            self.branch(body, self.why)
            leaving = self.left != left
            self.variables, self.left = variables, left
            if status.presumed:
                # what follows a failure of a command that is taken to succeed
                made = self.state.commands[count:]
                self.state.commands[count:] = [one for one in made if not effects.REMOVES.search(one.text)]
            elif leaving:
                self.unless = (*self.unless, *status.absent)

    def branch(self, body: Callable[[], Status], doubt: str, *, keep: bool = True) -> Status:
        """What may run."""
        variables, functions, saved = dict(self.variables), dict(self.functions), self.doubt
        self.doubt = self.doubts or doubt
        try:
            status = body()
        except Leave as leave:
            status = UNKNOWN
            if keep:
                self.left.setdefault(type(leave), "the script may end before it")
        finally:
            self.doubt = saved
        for name in {*variables, *self.variables}:
            if self.variables.get(name) != variables.get(name) or (name in variables) != (name in self.variables):
                self.variables[name] = None
        for name in self.functions:
            if self.functions[name] is not functions.get(name):
                self.functions[name] = None
        return status

    def condition(self, lists: Sequence[AndOr]) -> Status:
        self.ignoring += 1
        try:
            return self.lists(lists)
        finally:
            self.ignoring -= 1

    # commands

    def _pipeline(self, pipeline: Pipeline) -> Status:
        if len(pipeline.commands) == 1:
            status = self.command(pipeline.commands[0], piped=False)
        else:
            status = self._piped(pipeline.commands)
        return status.negated() if pipeline.negated else status

    def _piped(self, commands: Sequence[Any]) -> Status:
        if (asked := self._device_asked(commands)) is not None:
            return asked
        status = UNKNOWN
        for number, one in enumerate(commands):
            shell = self.inner()
            try:
                status = shell.command(one, piped=number > 0)
            except Leave:
                status = UNKNOWN
            if shell.left:
                status = UNKNOWN
        if isinstance(commands[0], Simple) and isinstance(commands[-1], Simple):
            printed, reader = (
                [field.text for word in one.words for field in self.expand(word)]
                for one in commands[:: len(commands) - 1]
            )
            if effects.read_as_commands(printed, reader):
                self.emit(" ".join(printed), opaque=True)
        return status

    def _device_asked(self, commands: Sequence[Any]) -> Status | None:
        """`ip link | grep -q NAME`."""
        if len(commands) != 2 or not all(isinstance(one, Simple) for one in commands):
            return None
        listing, search = ([field.text for word in one.words for field in self.expand(word)] for one in commands)
        name = effects.searched(listing, search)
        return None if name is None else self.exists(name) if name else UNKNOWN

    def exists(self, name: str) -> Status:
        """Whether a device is there."""
        certain = self.state.made.get(name)
        if certain is not None:
            return YES if certain else UNKNOWN
        return YES if name in {device.name for device in devices.found()} else Status(False, absent=(name,))

    def command(self, one: Any, *, piped: bool) -> Status:
        if isinstance(one, Simple):
            return self._simple(one, piped)
        if isinstance(one, If):
            return self._if(one)
        if isinstance(one, Loop):
            return loops.loop(self, one)
        if isinstance(one, For):
            return loops.each(self, one)
        if isinstance(one, CaseClause):
            return self._case(one)
        if isinstance(one, Function):
            self.functions[one.name] = one.body
            return YES
        assert isinstance(one, Group)
        return self._group(one)

    def _group(self, one: Group) -> Status:
        if not one.apart:
            return self.lists(one.body)
        shell = self.inner()
        try:
            status = shell.lists(one.body)
        except Leave:
            status = UNKNOWN
        return UNKNOWN if shell.left else status

    def _if(self, one: If) -> Status:
        """Each branch runs if its own condition holds and none before."""
        status = YES
        for number, (condition, body) in enumerate(one.branches):
            if condition is None:
                return self.lists(body)
            asked = self.condition(condition)
            if asked.holds is None:
                rest = If(one.branches[number + 1 :])
                self.branch(lambda body=body: self.lists(body), self.why)  # type: ignore[misc]
                if rest.branches:
                    self.branch(lambda rest=rest: self._if(rest), self.why)  # type: ignore[misc]
                return UNKNOWN
            if asked.holds:
                status = self.under(asked, lambda body=body: self.lists(body))  # type: ignore[misc]
                rest = If(one.branches[number + 1 :])
                if rest.branches and (asked.presumed or asked.absent):
                    self.passed_by(asked, lambda rest=rest: self._if(rest))  # type: ignore[misc]
                return status
            self.passed_by(asked, lambda body=body: self.lists(body))  # type: ignore[misc]
            if asked.absent:
                self.unless = (*self.unless, *asked.absent)
        return status

    def _case(self, one: CaseClause) -> Status:
        fields = self.expand(one.word, split=False)
        value = fields[0] if fields else Field("")
        falling = False
        for patterns, body, ending in one.branches:
            wanted = [field for pattern in patterns for field in self.expand(pattern, split=False, pattern=True)]
            held: bool | None = falling or any(
                value.known and field.known and fnmatch.fnmatchcase(value.text, field.text) for field in wanted
            )
            if not held and (not value.known or not all(field.known for field in wanted)):
                held = True if any(field.text == "*" for field in wanted) and value.known else None
            if held is None:
                self.branch(lambda body=body: self.lists(body), self.why)  # type: ignore[misc]
            elif held:
                status = self.lists(body)
                if ending not in (";&", ";;&"):
                    return status
                falling = ending == ";&"
        return YES if value.known else UNKNOWN

    # simple commands

    def _simple(self, one: Simple, piped: bool) -> Status:
        words = list(one.words)
        given: list[Word] = []
        while words and words[0] and words[0][0].kind == "text" and not words[0][0].quoted:
            if not tree.ASSIGNED.match(words[0][0].text):
                break
            given.append(words.pop(0))
        for redirection in one.redirections:
            if ">" in redirection.operator:
                self.state.written |= {field.text for field in self.expand(redirection.word) if field.known}
        if not words:
            status = YES
            for word in given:
                count = len(self.state.commands)
                expansion.assign(self, word)
                if any(piece.kind == "output" for piece in word):
                    status = UNKNOWN if len(self.state.commands) > count or "e" in self.options else YES
            return status
        fields = [field for word in words for field in self.expand(word)]
        if not fields:
            return YES
        return self._call(self, fields, one.redirections, piped)

    def function(self, body: Any, args: Sequence[str | None]) -> Status:
        """A function's body."""
        saved, unless, self.args = self.args, self.unless, args
        self.depth += 1
        try:
            if self.depth > DEEPEST:
                self.emit("a function", opaque=True)
                return UNKNOWN
            return self.command(body, piped=False)
        except Return:
            return UNKNOWN
        finally:
            self.args, self.unless = saved, unless
            self.depth -= 1
            self.left.pop(Return, None)

    def expand(self, word: Word, *, split: bool = True, pattern: bool = False) -> list[Field]:
        """A word's arguments."""
        return expansion.expand(self, word, split=split, pattern=pattern)
