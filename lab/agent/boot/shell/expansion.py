"""The words of a shell's command with their parameters replaced, as far as these are known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.agent.boot.shell import tokens
from lab.agent.boot.shell.state import Exit, Field
from lab.agent.boot.shell.tree import ASSIGNED, Piece, Word

if TYPE_CHECKING:
    from lab.agent.boot.shell.evaluation import Shell

SEVERAL = re.compile(r"\*|\{.*(?:,|\.\.).*\}")
"""What stands for several words."""


def expand(shell: Shell, word: Word, *, split: bool = True, pattern: bool = False) -> list[Field]:
    """A word's arguments: several where an unquoted parameter has several."""
    done: list[Field] = []
    text, known, begun = "", True, False
    for piece in word:
        if piece.kind == "text":
            text, begun = text + piece.text, True
            known = known and (piece.quoted or pattern or not SEVERAL.search(piece.text))
            continue
        values = _values(shell, piece)
        if values is None:
            text, known, begun = text + piece.source, False, True
            continue
        whole = piece.quoted and piece.text != "@"
        if whole or not split:
            text, begun = text + " ".join(values), True
            continue
        parts = values if piece.quoted else [one for value in values for one in value.split()]
        for number, part in enumerate(parts):
            if number:
                done.append(Field(text, known))
                text, known = "", True
            text, begun = text + part, True
    return [*done, Field(text, known)] if begun else done


def _values(shell: Shell, piece: Piece) -> list[str] | None:
    """What a piece is replaced by; None: not known."""
    if piece.kind == "output":
        inner = shell.inner()
        inner.doubt = inner.doubt or "its output is used"
        inner.run(piece.text.replace("\\`", "`"))
        return None
    if piece.kind == "opaque":
        return None
    name = piece.text
    if name in ("@", "*"):
        return None if shell.args is None or None in shell.args else [str(arg) for arg in shell.args]
    if name == "#":
        return None if shell.args is None else [str(len(shell.args))]
    unset = False
    value: str | None = None
    if name.isdigit():
        number = int(name)
        if shell.args is None:
            return None
        unset = number > len(shell.args)
        value = shell.path if number == 0 else None if unset else shell.args[number - 1]
    elif name in shell.variables:
        value = shell.variables[name]
    if value is None and not unset:
        if "u" in shell.options and not piece.operator and name not in shell.variables:
            shell.left.setdefault(Exit, f"`set -u` ends the script without ${name}")
        return None
    if not piece.operator:
        if unset and "u" in shell.options:
            raise Exit
        return [value or ""]
    empty = unset or (piece.operator.startswith(":") and not value)
    if piece.operator.endswith("?"):
        if empty:
            raise Exit
        return [value or ""]
    if empty == (not piece.operator.endswith("+")):
        fields = expand(shell, tokens.word(piece.word), split=False)
        if not all(field.known for field in fields):
            return None
        return ["".join(field.text for field in fields)]
    return [""] if piece.operator.endswith("+") else [value or ""]


def assign(shell: Shell, word: Word) -> None:
    """`NAME=value`."""
    first = word[0].text
    found = ASSIGNED.match(first)
    if found is None:
        return
    target = found[0].rstrip("=+").partition("[")[0]
    value = [word[0]._replace(text=first[found.end() :], source=first[found.end() :]), *word[1:]]
    fields = expand(shell, value, split=False)
    known = all(field.known for field in fields) and found[0] == f"{target}="
    shell.variables[target] = "".join(field.text for field in fields) if known else None
