"""`overcast up`: builds a lab and keeps it, until `overcast down`."""

from __future__ import annotations

import argparse
import shutil
import sys

from lab.applications import packages
from lab.clouds.providers import carried
from lab.commands import options
from lab.commands.kept_lab import drawing, keeper, rendezvous
from lab.commands.options import Plan
from lab.errors import EnvironmentProblem
from lab.model import ALL_HOSTS

SUMMARY = "Builds a lab and keeps it: overcast exec NODE -- COMMAND runs commands in it, overcast down removes it."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add(parser)


def run(arguments: argparse.Namespace) -> int:
    """Builds the lab, draws it, and prints commands to try."""
    plan = options.understood(arguments)
    if (connection := rendezvous.connect()) is not None:
        there = connection.ask(do="info")
        raise EnvironmentProblem(
            f"a lab of this checkout is up already ({there['title']}; process {there['keeper']})",
            remedy="./overcast down, then ./overcast up",
        )
    choice = plan.choice()
    for line in filter(None, (choice.reason, plan.note)):
        print(f"overcast: {line}", file=sys.stderr)
    built = keeper.detach(plan, choice)
    milliseconds = 1000 * built["seconds"]
    print(f"the lab is up: {drawing.title(plan.topology, plan.underlay)}; built in {milliseconds:.0f} ms")
    print(drawing.lab(plan.topology, plan.underlay))
    print("try:", *suggestions(plan), sep="\n    ")
    return 0


def suggestions(plan: Plan) -> list[str]:
    """Commands that show what the overlay is for, of those that this machine has the programs for."""
    topology, connected = plan.topology, carried(plan.underlay.provider, plan.tunnel)
    first, spoke = topology.nodes[0], topology.spokes[-1]
    answer = "every other host answers" if connected else "no host answers: the cloud drops the tunnel packets"
    pings = [
        ("ping", f"{spoke.name} -- ping -b -c 3 {spoke.broadcast()}", answer),
        ("ping", f"{spoke.name} -- ping -c 3 -t 1 -I {spoke.device} {ALL_HOSTS}", "the same by multicast"),
    ]
    tunnels = [
        ("tcpdump", f"{first.name} -- tcpdump -ni {first.nic}", "the tunnels' outer packets"),
        ("ip", f"{first.name} -- ip -d link show type {topology.options.kind}", "its tunnels"),
    ]
    known = [
        *([] if topology.native else pings),
        ("tcpdump", f"{first.name} -- tcpdump -ni {first.device}", "what crosses the overlay's device"),
        *([] if topology.native else tunnels),
        ("sh", first.name, f"a shell on {first.name}"),
    ]
    there = [(f"./overcast exec {words}", what) for program, words, what in known if shutil.which(program)]
    there.append(("./overcast down", "removes the lab"))
    width = max(len(command) for command, _ in there)
    lines = [f"{command.ljust(width)}   # {what}" for command, what in there]
    lacking = sorted({program for program, _, _ in known if not shutil.which(program)})
    if lacking:
        names = " ".join(packages.TOOLS[program] for program in lacking)
        lines.append(f"(for examples with {', '.join(lacking)}: sudo apt-get install {names})")
    return lines
