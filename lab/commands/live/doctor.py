"""`overcast doctor --hosts=`: what live hosts lack for the overlay and the suite, and the command that corrects it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lab import tunnels
from lab.checkup import examination
from lab.checkup.check import Check
from lab.checkup.examination import Examined, Expectations
from lab.checkup.live_host import ALL
from lab.clouds.providers import DEFAULT_CLOUD, PROVIDERS, for_tunnels
from lab.commands.main import FAILED, INCOMPLETE
from lab.commands.options import FOUND_OPTIONS
from lab.machines.live import hosts, ssh
from lab.machines.live.ssh_link import Login
from lab.model import Finding, place
from lab.output.finding_text import fixes, for_good
from lab.overlay.recognition.layouts import NOT_UNDERSTOOD
from lab.topology import designs, roles

OPTIONS = (*FOUND_OPTIONS, "--tunnel", "--provider", "--topology")
WAY = " → "
SCHEMA = 1


@dataclass(frozen=True)
class DoctorReport:
    """What an examination found; `names` are the user's, by role."""

    names: Mapping[str, str]
    examined: Examined

    @property
    def status(self) -> int:
        """The exit status."""
        if any(check.state == "problem" for check in self.examined.checks):
            return FAILED
        return 0 if self.examined.understood else INCOMPLETE

    @property
    def reasons(self) -> list[Check]:
        """Why the overlay was not diagnosed: the hosts' problems, else what was found of the overlay."""
        checks = self.examined.checks
        problems = [check for check in checks if check.state == "problem"]
        return problems or [check for check in checks if check.what == "overlay"]

    def document(self) -> dict[str, object]:
        """The report for programs."""
        return document(self.examined.checks, self.names, self.examined.findings, self.status)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which hosts, under the names that pytest has them."""
    group = parser.add_argument_group("live hosts", "read-only: datagrams are sent, nothing is changed")
    for name, fields in FOUND_OPTIONS.items():
        group.add_argument(name, **fields)
    group.add_argument(
        "--tunnel",
        metavar="KIND",
        help=f"expected kind of tunnel: {', '.join(tunnels.KINDS)} (default: as found)",
    )
    group.add_argument(
        "--topology",
        metavar="NAME",
        help=f"expected topology: {', '.join(designs.TOPOLOGIES)} (default: as found)",
    )
    group.add_argument(
        "--provider",
        metavar="CLOUD",
        help=f"the hosts' cloud: {', '.join(PROVIDERS)} (default: the one that their firmware names)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for everything examined, then whether the hosts are ready."""
    report = examine(arguments)
    if arguments.json:
        print(json.dumps(report.document(), indent=1))
    else:
        _print(report)
    return report.status


def examine(arguments: argparse.Namespace) -> DoctorReport:
    """Connects to the hosts that the options name, examines them, and disconnects."""
    specs = hosts.parse(arguments.hosts)
    chosen = for_tunnels(arguments.provider or DEFAULT_CLOUD, arguments.tunnel)
    for_tunnels(chosen.name, designs.default_tunnel(arguments.topology or "", arguments.tunnel or ""))
    cloud = chosen if arguments.provider else None
    hubs = designs.hubs(arguments.topology) if arguments.topology else 1
    connected = ssh.reach(specs, Login(arguments.ssh_config, arguments.ssh_identity_file, arguments.sudo))
    try:
        if connected.machines:
            ssh.claim(connected)
        who = roles.recognised(specs, connected, hubs, arguments.overlay)
        wanted = Expectations(arguments.tunnel, cloud, arguments.topology, arguments.overlay)
        examined = examination.examine(who.specs, who.connected, wanted)
    finally:
        connected.close()
    said = [Check("ok" if who.sure else "warning", ALL, "hub", who.note)] if who.note else []
    names = {spec.role: spec.destination for spec in who.specs}
    return DoctorReport(names, replace(examined, checks=(*said, *examined.checks)))


def shown(where: str, names: Mapping[str, str]) -> str:
    """Hosts as the user named them, each with its role."""
    parts = [(part, names.get(part, part)) for part in where.split(WAY)]
    return WAY.join(role if name == role else f"{name} ({role})" for role, name in parts)


def _fixes(check: Check, names: Mapping[str, str]) -> list[str]:
    """The lines that can be pasted, and where: for now, and for good; none where nothing is to be done."""
    if not check.remedy or check.state == "ok":
        return []
    on = "" if check.place == ALL else check.place
    return fixes(place(on, names.get(on, ""), check.remedy), check.remedy, lasting=check.lasting)


def document(
    checks: Sequence[Check], names: Mapping[str, str], findings: Sequence[Finding], status: int
) -> dict[str, object]:
    """The report for programs (docs/troubleshooting.md)."""
    entries = [
        {
            "state": check.state,
            "host": shown(check.where, names) or "this machine",
            "role": check.where,
            "check": check.what,
            "found": check.found,
            "fix": (check.remedy or "") if check.state != "ok" else "",
            "fix_on": check.place,
            "fix_for_good": check.lasting or for_good(check.remedy or "") if check.state != "ok" else "",
        }
        for check in checks
    ]
    return {
        "schema": SCHEMA,
        "ready": status == 0,
        "exit_status": status,
        "hosts": dict(names),
        "checks": entries,
        "findings": [finding.data() for finding in findings],
    }


def show(found: Sequence[Check], names: Mapping[str, str]) -> list[str]:
    """Prints a line for each check, its fix below it; returns the problems in a few words."""
    places = [shown(check.where, names) for check in found]
    columns: list[list[str]] = [[check.state for check in found], places, [check.what for check in found]]
    widths = [width for column in columns if (width := max(map(len, column)))]
    indent = " " * sum(width + 2 for width in widths)
    for where, check in zip(places, found, strict=True):
        cells = [cell for cell in (check.state, where, check.what) if cell]
        text = check.found.replace("\n", "\n" + indent)
        print("".join(f"{cell:{width + 2}}" for cell, width in zip(cells, widths, strict=True)) + text)
        for correction in _fixes(check, names):
            print(f"{indent}{correction}")
    print()
    return list(
        dict.fromkeys(
            f"{where}: {check.problem or check.what}" if where else check.problem or check.what
            for where, check in zip(places, found, strict=True)
            if check.state == "problem"
        )
    )


def _print(report: DoctorReport) -> None:
    problems = show(report.examined.checks, report.names)
    warnings = sum(check.state == "warning" for check in report.examined.checks)
    after = f"; {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    if problems:
        print(f"the hosts are not ready: {'; '.join(problems)}{after}")
    elif report.status:
        print(f"the overlay is not judged: {NOT_UNDERSTOOD}{after}")
    else:
        print(f"the hosts are ready{after}")
