"""`overcast bundle`: what a colleague needs to explain the last run, or live hosts, without the hosts, in one file."""

from __future__ import annotations

import argparse
import shlex
import socket
from dataclasses import replace
from pathlib import Path

from lab.bundles import bundle
from lab.bundles.bundle import Bundle, Case
from lab.bundles.redaction import Redaction
from lab.bundles.secrets import without_secrets
from lab.commands import explain, options
from lab.commands.live import doctor
from lab.errors import EnvironmentProblem, UsageProblem
from lab.stack import snapshot

SUMMARY = (
    "Packs the last run into one file: the state of the hosts, the sent and lost packets, and the results.  A "
    "colleague runs `overcast explain` on it, without the hosts.  With --hosts, live hosts are examined now instead."
)
REPORTS = Path(__file__).resolve().parents[2] / "reports"
FILE = Path("overcast-bundle.tar.gz")
README = """\
This was written by Overcast, a conformance suite for broadcast and multicast over overlays of tunnels.

    summary.txt        the findings and their fixes
    hosts.txt          how each host was configured
    conformance.json   of a run: every requirement and test, with outcome and reason
    junit.xml          the same tests, for CI systems
    doctor.json        of live hosts that were examined without a run: every check
    diagnosis.jsonl    the input of the diagnosis: the state of the hosts, the sent and lost packets

To derive the findings again, in a checkout of Overcast: ./overcast explain FILE
The fixes are derived from the data in this file: read a fix before you run it.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where from, where to, and whether names and addresses are replaced."""
    doctor.arguments(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=FILE, help=f"the file to write (default: {FILE})"
    )
    parser.add_argument("--reports", metavar="DIR", type=Path, help="folder with the run's results (default: reports/)")
    parser.add_argument("--redact", action="store_true", help="replace host names and addresses by substitutes")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and prints what is in it."""
    if arguments.hosts is None:
        options.require_hosts(arguments, doctor.OPTIONS)
    elif arguments.reports:
        raise UsageProblem("--reports cannot be used with --hosts: remove one of them")
    source = of_run(arguments.reports) if arguments.hosts is None else of_hosts(arguments)
    packed = without_secrets(source)
    if arguments.redact:
        packed = redacted(packed)
    bundle.write(packed, arguments.output, texts(packed))
    size = arguments.output.stat().st_size / 1024
    found = len(packed.reported)
    print(f"{arguments.output}: {found} finding{'' if found == 1 else 's'}, {size:.0f} KiB; it is read by")
    print(f"  ./overcast explain {arguments.output}")
    return 0


def of_run(reports: Path | None) -> Bundle:
    """The bundle of the last run in a folder; None: the default one; UsageProblem if that is no folder."""
    if reports and not reports.is_dir():
        found = "a file" if reports.exists() else "no such folder"
        raise UsageProblem(
            f"--reports={reports}: expected a folder with the results of a run; found {found}",
            remedy="./overcast bundle    # packs the last run that wrote its results to reports/",
        )
    option = f" {shlex.quote(f'--reports={reports}')}" if reports else ""
    return bundle.of_run(reports or REPORTS, f"./overcast{option}")


def of_hosts(arguments: argparse.Namespace) -> Bundle:
    """The bundle of live hosts as the doctor finds them; EnvironmentProblem where they have no overlay to explain."""
    report = doctor.examine(arguments)
    if report.examined.scene is None:
        why = "".join(f"\n  {doctor.shown(check.where, report.names)}: {check.found}" for check in report.reasons)
        raise EnvironmentProblem(
            f"the overlay could not be diagnosed, so a bundle would have no findings{why}",
            remedy=options.command("doctor", arguments, doctor.OPTIONS),
        )
    return Bundle((Case(report.examined.scene, report.names),), report.document())


def texts(packed: Bundle) -> dict[str, str]:
    """The files for people."""
    summary = "\n".join(explain.lines(packed, 120)) + "\n"
    hosts = [
        snapshot.configuration(
            {
                name: {**host.readings, "sysctls": host.sysctls, "firewall": host.firewall, "unread": {}}
                for name, host in case.scene.hosts.items()
            }
        )
        for case in packed.cases
    ]
    return {"README.txt": README, "summary.txt": summary, "hosts.txt": "\n\n".join(hosts) + "\n"}


def redacted(packed: Bundle) -> Bundle:
    """A bundle with other names and addresses."""
    mapping = Redaction(packed.cases, {socket.gethostname(): "machine"})
    return replace(
        packed,
        cases=tuple(map(mapping.case, packed.cases)),
        results=mapping.data(packed.results),
        junit=mapping.text(packed.junit),
    )
