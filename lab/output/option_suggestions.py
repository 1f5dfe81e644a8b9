"""Options that do not exist: which one of those that do was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

ALIKE = 0.8
"""Of two names, without the dashes (`difflib.SequenceMatcher.ratio`): a letter more, less or in another place."""
OPTION = re.compile(r"--[a-z][\w-]*")


def suggestions(arguments: Sequence[str], usage: str) -> list[str]:
    """
    For each argument that is not an option of a program, with its value, the option that is spelt most like it.

    `usage` is the program's whole help text, which names its options.
    """
    known = set(OPTION.findall(usage))
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    found = []
    for argument in given:
        name, equals, value = argument.partition("=")
        if name.startswith("--") and name not in known:
            close = difflib.get_close_matches(name[2:], [one[2:] for one in known], 1, ALIKE)
            found += [f"--{one}{equals}{value}" for one in close]
    return found
