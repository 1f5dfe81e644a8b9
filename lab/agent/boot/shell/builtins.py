"""The commands of a shell that are its own: what they change of it, and how tests end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

from lab.agent.boot import base
from lab.agent.boot.base import VOLATILE
from lab.agent.boot.shell.evaluation import Shell
from lab.agent.boot.shell.state import DONE, NO, UNKNOWN, YES, Break, Continue, Exit, Field, Return, Status

NET = "/sys/class/net/"


def _exit(shell: Shell, args: Sequence[Field]) -> Status:
    raise Exit


def _return(shell: Shell, args: Sequence[Field]) -> Status:
    raise Return


def _break(shell: Shell, args: Sequence[Field]) -> Status:
    raise Break


def _continue(shell: Shell, args: Sequence[Field]) -> Status:
    raise Continue


def _set(shell: Shell, args: Sequence[Field]) -> Status:
    for number, field in enumerate(args):
        if field.text == "--" or not field.text.startswith(("-", "+")):
            left = args[number + (field.text == "--") :]
            if args[number - 1].text in ("-o", "+o") and number:
                change = {"errexit": {"e"}, "nounset": {"u"}, "noexec": {"n"}}.get(field.text, set())
                shell.options = shell.options | change if args[number - 1].text == "-o" else shell.options - change
                continue
            shell.args = [one.text if one.known else None for one in left]
            break
        change = set(field.text[1:]) & {"e", "u", "n"}
        shell.options = shell.options | change if field.text.startswith("-") else shell.options - change
    if "n" in shell.options:
        raise Exit
    return YES


def _shift(shell: Shell, args: Sequence[Field]) -> Status:
    count = int(args[0].text) if args and args[0].text.isdigit() else 1
    shell.args = None if shell.args is None else list(shell.args)[count:]
    return YES


def _export(shell: Shell, args: Sequence[Field]) -> Status:
    for field in args:
        name, equals, value = field.text.partition("=")
        if equals:
            shell.variables[name] = value if field.known else None
    return YES


def _unset(shell: Shell, args: Sequence[Field]) -> Status:
    for field in args:
        shell.variables[field.text] = ""
        shell.functions.pop(field.text, None)
    return YES


def _read(shell: Shell, args: Sequence[Field]) -> Status:
    for field in args:
        if not field.text.startswith("-"):
            shell.variables[field.text] = None
    return UNKNOWN


def _source(shell: Shell, args: Sequence[Field]) -> Status:
    path = args[0].text if args else ""
    if not args or not args[0].known or path in shell.state.written or not os.path.isfile(path):
        shell.emit(f". {path}", opaque=True)
        return UNKNOWN
    if not os.access(path, os.R_OK):
        shell.emit(f". {path}", opaque=True)
        return UNKNOWN
    with open(path, errors="replace") as file:
        text = file.read(base.LARGEST)
    before, shell.path, obstacle = shell.path, path, shell.obstacle
    shell.obstacle = obstacle or base.carriage_returns(path, text)
    shell.depth += 1
    try:
        return shell.evaluate(text)
    except Return:
        return UNKNOWN
    finally:
        shell.depth -= 1
        shell.path, shell.obstacle = before, obstacle


def _eval(shell: Shell, args: Sequence[Field]) -> Status:
    text = " ".join(field.text for field in args)
    if not all(field.known for field in args):
        shell.emit(f"eval {text}", opaque=True)
        shell.left.setdefault(Exit, "`eval` before it may do anything")
        return UNKNOWN
    return shell.evaluate(text)


def _trap(shell: Shell, args: Sequence[Field]) -> Status:
    names = {field.text.upper() for field in args[1:]}
    if args and args[0].text not in ("-", "--") and names & {"EXIT", "0", "ERR"}:
        shell.trap = args[0].text if args[0].known else "eval $trap"
    return YES


def _alias(shell: Shell, args: Sequence[Field]) -> Status:
    shell.aliases |= {field.text.partition("=")[0] for field in args}
    return YES


def _test(shell: Shell, args: Sequence[Field]) -> Status:
    words = [field for field in args if field.text not in ("]", "]]")]
    if [field.text for field in words[:1]] == ["!"]:
        return _test(shell, words[1:]).negated()
    for joined in ("||", "-o", "&&", "-a"):
        at = next((number for number, field in enumerate(words) if number and field.text == joined), 0)
        if at and len(words) > 3:
            first, second = _test(shell, words[:at]), _test(shell, words[at + 1 :])
            decided = joined in ("||", "-o")
            if first.holds is decided or second.holds is decided:
                return first if first.holds is decided else second
            return UNKNOWN if first.holds is None or second.holds is None else first
    if len(words) == 3:
        return _compared(words)
    if len(words) == 2 and words[1].text.startswith(NET) and words[0].text in ("-e", "-d", "-L", "-h"):
        name = words[1].text[len(NET) :].rstrip("/")
        return shell.exists(name) if words[1].known and "/" not in name else UNKNOWN
    if len(words) == 2:
        return _single(shell, words[0].text, words[1])
    if len(words) == 1:
        return Status(bool(words[0].text)) if words[0].known else UNKNOWN
    return NO if not words else UNKNOWN


def _compared(words: Sequence[Field]) -> Status:
    left, how, right = words
    if not left.known or not right.known:
        return UNKNOWN
    if how.text in ("=", "==", "!="):
        if re.search(r"[*?\[]", right.text):
            return UNKNOWN
        return Status((left.text == right.text) == (how.text != "!="))
    numbers: Mapping[str, Callable[[int, int], bool]] = {
        "-eq": int.__eq__,
        "-ne": int.__ne__,
        "-lt": int.__lt__,
        "-le": int.__le__,
        "-gt": int.__gt__,
        "-ge": int.__ge__,
    }
    if how.text in numbers and left.text.isdigit() and right.text.isdigit():
        return Status(numbers[how.text](int(left.text), int(right.text)))
    return UNKNOWN


def _single(shell: Shell, how: str, value: Field) -> Status:
    if how in ("-n", "-z"):
        return Status(bool(value.text) == (how == "-n")) if value.known else UNKNOWN
    tests = {"-e": os.path.exists, "-f": os.path.isfile, "-d": os.path.isdir, "-s": os.path.isfile}
    if how == "-x":
        tests["-x"] = lambda path: os.access(path, os.X_OK)
    if how == "-r":
        tests["-r"] = os.path.exists
    if how not in tests or not value.known or not value.text.startswith("/"):
        return UNKNOWN
    if value.text.rstrip("/") in VOLATILE:
        return YES
    if value.text.startswith(tuple(f"{folder}/" for folder in (*VOLATILE, "/dev", "/mnt", "/media"))):
        return UNKNOWN
    return DONE if value.text in shell.state.written else Status(tests[how](value.text))


OWN: Mapping[str, Callable[[Shell, Sequence[Field]], Status]] = {
    **{name: (lambda shell, args: YES) for name in (":", "true", "wait", "umask", "ulimit", "cd", "hash", "shopt")},
    "false": lambda shell, args: NO,
    "exit": _exit,
    "return": _return,
    "break": _break,
    "continue": _continue,
    "set": _set,
    "shift": _shift,
    **dict.fromkeys(("export", "readonly", "local", "declare", "typeset"), _export),
    "unset": _unset,
    **dict.fromkeys(("read", "getopts", "mapfile", "readarray"), _read),
    **dict.fromkeys((".", "source"), _source),
    "eval": _eval,
    "trap": _trap,
    "alias": _alias,
    **dict.fromkeys(("[", "[[", "test"), _test),
}
