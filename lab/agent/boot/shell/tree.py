"""The tree of a shell's script: lists, pipelines, branches, loops, functions, simple commands, words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

ASSIGNED = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")
NAME = re.compile(r"[A-Za-z_]\w*")


class SyntaxProblem(Exception):
    """A text that is no shell's script as it is known here."""


class Piece(NamedTuple):
    """A piece of a word: `text`, `parameter` (with an operator and its word), `output` of commands, or `opaque`."""

    kind: str
    text: str
    quoted: bool
    source: str
    operator: str = ""
    word: str = ""


Word = list[Piece]


class Redirection(NamedTuple):
    """What follows `>` and the like; of a here-document its lines."""

    operator: str
    word: Word
    lines: list[str]
    """One text, once it is read."""
    descriptor: str = ""


class Simple(NamedTuple):
    """A command with its arguments."""

    words: Sequence[Word]
    redirections: Sequence[Redirection]


class Pipeline(NamedTuple):
    """Commands joined by `|`."""

    negated: bool
    commands: Sequence[Any]


class AndOr(NamedTuple):
    """Pipelines joined by `&&` and `||`."""

    parts: Sequence[tuple[str, Pipeline]]
    """Each with the operator before it."""
    background: bool


class If(NamedTuple):
    """`if`."""

    branches: Sequence[tuple[Sequence[AndOr] | None, Sequence[AndOr]]]
    """Condition (None: `else`) and commands."""


class Loop(NamedTuple):
    """`while` and `until`."""

    until: bool
    condition: Sequence[AndOr]
    body: Sequence[AndOr]


class For(NamedTuple):
    """`for`."""

    name: str
    words: Sequence[Word] | None
    """None: the arguments."""
    body: Sequence[AndOr]


class CaseClause(NamedTuple):
    """`case`."""

    word: Word
    branches: Sequence[tuple[Sequence[Word], Sequence[AndOr], str]]
    """Patterns, commands, and the operator at their end."""


class Group(NamedTuple):
    """Lists in brackets, or a command with what is redirected."""

    body: Sequence[AndOr]
    apart: bool
    """In a shell of its own: `( )`."""
    redirections: Sequence[Redirection] = ()


class Function(NamedTuple):
    """The definition of a function."""

    name: str
    body: Any


def literal(one: Word) -> str | None:
    """A word's text where nothing in it is quoted or replaced."""
    return one[0].text if len(one) == 1 and one[0].kind == "text" and not one[0].quoted else None
