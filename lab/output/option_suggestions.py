"""Options that do not exist: which one of those that do was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

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
            found += [f"{close}{equals}{value}" for close in difflib.get_close_matches(name, known, 1, 0.7)]
    return found
