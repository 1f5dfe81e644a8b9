"""`overcast doctor --hosts=`: what live hosts lack for the overlay and the suite, and the command that corrects it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

from lab import roles, tunnels
from lab.causes import fix
from lab.checkup import examination
from lab.checkup.check import Check
from lab.checkup.examination import Examined
from lab.checkup.looking import ALL
from lab.commands.main import FAILED, INCOMPLETE
from lab.errors import UsageProblem
from lab.machines import hosts, ssh
from lab.machines.ssh_link import Login
from lab.model import place
from lab.overlay.layouts import NOT_UNDERSTOOD
from lab.providers import PROVIDERS, provider

OPTIONS = ("ssh_config", "ssh_identity_file", "sudo", "tunnel", "provider")
WAY = " → "
SCHEMA = 1


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
        "--tunnel",
        metavar="KIND",
        help=f"kind of tunnel that is wanted: {', '.join(tunnels.KINDS)} (default: as found)",
    )
    group.add_argument(
        "--provider",
        metavar="CLOUD",
        help=f"cloud that they are in: {', '.join(PROVIDERS)} (default: the one that their firmware names)",
    )


def refuse_alone(arguments: argparse.Namespace) -> None:
    """An option for live hosts without live hosts is a UsageProblem."""
    for name in OPTIONS:
        if getattr(arguments, name):
            raise UsageProblem(f"--{name.replace('_', '-')} requires --hosts=HUB,SPOKE,...")


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for everything examined, then whether the hosts are ready."""
    specs = hosts.parse(arguments.hosts)
    if arguments.tunnel:
        tunnels.kind(arguments.tunnel)
    cloud = provider(arguments.provider) if arguments.provider else None
    connected = ssh.reach(specs, Login(arguments.ssh_config, arguments.ssh_identity_file, arguments.sudo))
    try:
        if connected.machines:
            ssh.claim(connected)
        who = roles.recognised(specs, connected)
        examined = examination.examine(who.specs, who.connected, arguments.tunnel, cloud)
    finally:
        connected.close()
    said = [Check("ok" if who.sure else "warning", ALL, "hub", who.note)] if who.note else []
    examined = Examined((*said, *examined.checks), examined.findings)
    names = {spec.role: spec.destination for spec in who.specs}
    if arguments.json:
        print(json.dumps(_document(examined, names), indent=1))
    else:
        _print(examined.checks, names)
    return _status(examined.checks)


def _status(checks: Sequence[Check]) -> int:
    if any(check.state == "problem" for check in checks):
        return FAILED
    return INCOMPLETE if any(check.what == NOT_UNDERSTOOD for check in checks) else 0


def _shown(where: str, names: Mapping[str, str]) -> str:
    """Hosts as the user named them, each with its role."""
    parts = [(part, names.get(part, part)) for part in where.split(WAY)]
    return WAY.join(role if name == role else f"{name} ({role})" for role, name in parts)


def _fix(check: Check, names: Mapping[str, str]) -> str:
    """The line that can be pasted, and where; empty where nothing is to be done."""
    if not check.remedy or check.state == "ok":
        return ""
    on = "" if check.place == ALL else check.place
    return fix(place(on, names.get(on, ""), check.remedy), check.remedy)


def _document(examined: Examined, names: Mapping[str, str]) -> dict[str, object]:
    """The report for programs (docs/troubleshooting.md)."""
    status = _status(examined.checks)
    checks = [
        {
            "state": check.state,
            "host": _shown(check.where, names),
            "role": check.where,
            "check": check.what,
            "found": check.found,
            "fix": (check.remedy or "") if check.state != "ok" else "",
            "fix_on": check.place,
        }
        for check in examined.checks
    ]
    findings = [finding.data() for finding in examined.findings]
    return {
        "schema": SCHEMA,
        "ready": status == 0,
        "exit_status": status,
        "hosts": dict(names),
        "checks": checks,
        "findings": findings,
    }


def _print(found: Sequence[Check], names: Mapping[str, str]) -> None:
    shown = [_shown(check.where, names) for check in found]
    wide, what = max(map(len, shown)), max(len(check.what) for check in found)
    for where, check in zip(shown, found, strict=True):
        indent = " " * (7 + 2 + wide + 2 + what + 2)
        text = check.found.replace("\n", "\n" + indent)
        print(f"{check.state:7}  {where:{wide}}  {check.what:{what}}  {text}")
        if correction := _fix(check, names):
            print(f"{indent}{correction}")
    problems = [
        f"{where} ({check.what})" for where, check in zip(shown, found, strict=True) if check.state == "problem"
    ]
    warnings = sum(check.state == "warning" for check in found)
    after = f"; {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    print()
    if problems:
        print(f"the hosts are not ready: {', '.join(dict.fromkeys(problems))}{after}")
    elif _status(found):
        print(f"the overlay is not judged: {NOT_UNDERSTOOD}{after}")
    else:
        print(f"the hosts are ready{after}")
