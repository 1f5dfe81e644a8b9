"""The rounds of a shell's loops: as many as are certain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.agent.boot.shell import tree
from lab.agent.boot.shell.state import NO, YES, Break, Continue, Exit, Field, Status
from lab.agent.boot.shell.tree import AndOr, For, Loop, Simple

if TYPE_CHECKING:
    from lab.agent.boot.shell.evaluation import Shell

REPEATED = 64
"""Rounds of which more are not followed."""


def _round(shell: Shell, body: Sequence[AndOr]) -> bool:
    """One round of a loop; False: it was the last."""
    try:
        shell.lists(body)
    except Continue:
        return True
    except Break:
        return False
    return True


def loop(shell: Shell, one: Loop) -> Status:
    """`while` and `until`."""
    if _reads(one.condition):
        shell.branch(lambda: YES if _round(shell, one.body) else NO, "it is in a loop")
        shell.left.pop(Break, None)
        return YES
    for _ in range(REPEATED):
        asked = shell.condition(one.condition)
        asked = asked.negated() if one.until else asked
        if asked.holds is False and not asked.presumed:
            break
        if asked.holds is None or asked.presumed or asked.absent:
            shell.branch(lambda: YES if _round(shell, one.body) else NO, "it is in a loop")
            shell.left[Exit] = "a loop before it may not end"
            break
        if not _round(shell, one.body):
            break
        if shell.left:
            break
    else:
        shell.left[Exit] = "a loop before it does not end"
    shell.left.pop(Break, None)
    shell.left.pop(Continue, None)
    return YES


def _reads(condition: Sequence[AndOr]) -> bool:
    """`while read line`, which ends with what it reads."""
    one = condition[0].parts[0][1].commands[0] if len(condition) == 1 else None
    words = [tree.literal(word) for word in one.words] if isinstance(one, Simple) else []
    return "read" in words


def each(shell: Shell, one: For) -> Status:
    """`for`."""
    if one.words is None:
        fields = None if shell.args is None else [Field(arg or "", arg is not None) for arg in shell.args]
    else:
        fields = [field for word in one.words for field in shell.expand(word)]
    if fields is None or not all(field.known for field in fields) or len(fields) > REPEATED:

        def body() -> Status:
            shell.variables[one.name] = None
            return YES if _round(shell, one.body) else NO

        shell.branch(body, "it is in a loop")
    else:
        for field in fields:
            shell.variables[one.name] = field.text
            if not _round(shell, one.body):
                break
    shell.left.pop(Break, None)
    shell.left.pop(Continue, None)
    return YES
