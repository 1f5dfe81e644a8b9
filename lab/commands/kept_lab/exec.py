"""`overcast exec NODE -- COMMAND`: runs a command in a node of the lab, with this terminal or these files."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from lab.commands.kept_lab import remote, rendezvous
from lab.errors import EnvironmentProblem, UsageProblem

SUMMARY = "Runs COMMAND (a shell if none is given) in a node of the lab: hub, spoke1, ..., vcn, r1, ..."
EPILOG = "The exit status is the command's; 127: command not found; 1: no lab is up; 2: usage error, or unknown node."

ENTERED = """\
mount -t sysfs overcast /sys 2>/dev/null; cd -- "$1" 2>/dev/null; shift
command -v -- "$1" >/dev/null || { echo "overcast: command not found: $1" >&2; exit 127; }
exec "$@"
"""
"""
What a shell does before the command, in a mount namespace of its own: /sys of the node (class/net), and the directory
that the user is in, if it can be had there.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [-h] NODE [--] [COMMAND ...]"
    parser.epilog = EPILOG
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="NODE [--] COMMAND", help="node and command")


def run(arguments: argparse.Namespace) -> int:
    """The command's exit status; on this kernel the command takes this process over."""
    node, *command = arguments.words or [""]
    if not node or node.startswith("-"):
        raise UsageProblem("exec requires a node", remedy="./overcast exec hub -- ip addr")
    if command[:1] == ["--"]:
        command = command[1:]
    command = command or [os.environ.get("SHELL") or "sh"]
    command = ["unshare", "--mount", "sh", "-c", ENTERED, "overcast", str(Path.cwd()), *command]
    connection = rendezvous.the_lab()
    answer = connection.ask(do="exec", node=node, **remote.order(command))
    if "relay" in answer:
        return remote.attend(connection)
    return _enter(answer, command)


def _enter(place: dict[str, Any], command: list[str]) -> int:
    """Becomes the command, inside all namespaces of the agent and the node's network stack."""
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise EnvironmentProblem(
            "exec requires nsenter(1), which is not installed", remedy="sudo apt-get install util-linux"
        )
    agent = place["enter"].split("/")[2]
    user = ["--user"] if place["user"] else []
    words = [nsenter, *user, "--target", agent, "--mount", "--pid", f"--net={place['enter']}"]
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so
        signal.signal(number, signal.SIG_DFL)
    os.execv(nsenter, [*words, *command])
