"""Finds the command, reads its arguments, and turns what Overcast raises on purpose into a message and a status."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from lab.errors import OvercastError, UsageProblem
from lab.interrupts import SIGNALS
from lab.output.option_suggestions import suggestions

KEPT_LAB = ("up", "exec", "down")
COMMANDS = (*KEPT_LAB, "doctor", "watch", "designs", "load", "plan", "bench", "bundle", "explain")
PROGRAM = "overcast"
FAILED, MISUSED, INCOMPLETE, INTERRUPTED = 1, 2, 10, 130
SYSTEM_PATH = ":/usr/local/sbin:/usr/sbin:/sbin"
"""Where ip, iptables and tcpdump are, and an ordinary user's PATH often does not lead."""


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints are UsageProblems.  `given`: the arguments that are being parsed."""

    given: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        unknown = message.startswith("unrecognized")
        meant = suggestions(self.given, self.format_help()) if unknown else ()
        first = f"did you mean {' '.join(meant)}?  " if meant else ""
        after = "    # lists the options" if unknown and not meant else ""
        raise UsageProblem(message.removeprefix("argument "), remedy=f"{first}./{self.prog} --help{after}")


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status."""
    _open_closed_streams()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # ./overcast blocks them while Python starts
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except OvercastError as problem:
        print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return MISUSED if isinstance(problem, UsageProblem) else FAILED
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output has closed it; the interpreter's own flush at exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _open_closed_streams() -> None:
    """A closed stream (`>&-`) is replaced by one without a reader; else the next opened file takes its place."""
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  open until the process ends


def _run(arguments: Sequence[str]) -> int:
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + SYSTEM_PATH
    name, *rest = arguments or [""]
    if name in ("-h", "--help"):
        print(f"usage: {PROGRAM} {{{','.join(COMMANDS)}}} ...   (each has its own --help)")
        return 0
    if name not in COMMANDS:
        found = f"unknown command {name!r}" if name else "no command given"
        raise UsageProblem(f"{found}: expected one of {', '.join(COMMANDS)}")
    # only the command that runs is imported: most of them need neither pyroute2 nor scapy
    package = "lab.commands.kept_lab" if name in KEPT_LAB else "lab.commands"
    command = importlib.import_module(f"{package}.{name}")
    parser = Parser(prog=f"{PROGRAM} {name}", description=command.SUMMARY, allow_abbrev=False)
    command.arguments(parser)
    parser.given = rest
    return int(command.run(parser.parse_args(rest)))
