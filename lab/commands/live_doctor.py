"""`overcast doctor --hosts=`: what live hosts lack for the overlay and the suite, and the command that mends it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lab.checkup import examination
from lab.checkup.check import Check
from lab.commands.main import FAILED
from lab.errors import UsageProblem
from lab.machines import hosts, ssh
from lab.machines.ssh_link import Login
from lab.overlay import plan

OPTIONS = ("ssh_config", "ssh_identity_file", "sudo", "tunnel")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which hosts, under the names that pytest has them."""
    group = parser.add_argument_group("live hosts", "only looked at: datagrams are sent, and nothing is changed")
    group.add_argument(
        "--hosts", metavar="HUB,SPOKE,...", help="the hub first: ssh://user@name:port?sudo=true, a bare name, or @FILE"
    )
    group.add_argument("--ssh-config", metavar="FILE", help="OpenSSH configuration")
    group.add_argument("--ssh-identity-file", metavar="FILE", help="private key")
    group.add_argument("--sudo", action="store_true", help="become root there (sudo -n)")
    group.add_argument(
        "--tunnel", metavar="KIND", help=f"kind of tunnel that is wanted: {', '.join(plan.KINDS)} (default: as found)"
    )


def refuse_alone(arguments: argparse.Namespace) -> None:
    """An option for live hosts without live hosts is a UsageProblem."""
    for name in OPTIONS:
        if getattr(arguments, name):
            raise UsageProblem(f"--{name.replace('_', '-')} is about live hosts: expected --hosts=HUB,SPOKE,... too")


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for everything looked at, then whether the hosts are ready."""
    specs = hosts.parse(arguments.hosts)
    if arguments.tunnel:
        plan.kind(arguments.tunnel)
    connected = ssh.reach(specs, Login(arguments.ssh_config, arguments.ssh_identity_file, arguments.sudo))
    try:
        if connected.machines:
            ssh.claim(connected)
        found = examination.checks(specs, connected, arguments.tunnel)
    finally:
        connected.close()
    _print(found)
    return FAILED if any(check.state == "problem" for check in found) else 0


def _print(found: Sequence[Check]) -> None:
    wide, what = max(len(check.where) for check in found), max(len(check.what) for check in found)
    for check in found:
        indent = " " * (7 + 2 + wide + 2 + what + 2)
        text = check.found.replace("\n", "\n" + indent)
        print(f"{check.state:7}  {check.where:{wide}}  {check.what:{what}}  {text}")
        if check.remedy and check.state != "ok":
            place = f", on {check.place}" if check.place else ""
            print(f"{indent}to mend it{place}: {check.remedy}")
    problems = [f"{check.where} ({check.what})" for check in found if check.state == "problem"]
    warnings = sum(check.state == "warning" for check in found)
    after = f"; {warnings} warnings" if warnings else ""
    print()
    if problems:
        print(f"the hosts are not ready: {', '.join(problems)}{after}")
    else:
        print(f"the hosts are ready{after}")
