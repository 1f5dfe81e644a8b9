"""`overcast doctor`: what this machine has and lacks for the suite, and the command that corrects each."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.applications import packages
from lab.commands import live_doctor
from lab.commands.main import FAILED
from lab.errors import OvercastError
from lab.machines import abilities, choose, guest, local, uml

SUMMARY = (
    "Says what this machine lacks for the suite, or with --hosts what live hosts lack, each with its fix.  "
    "Status 0: the suite can run."
)

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "reports"
OLDEST_PYTHON = (3, 10)
PACKAGES = ("execnet", "pyroute2", "scapy", "pytest", "xdist", "allure_pytest")
TUNNEL = "gretap"
IPTABLES = ("iptables-legacy", "iptables-nft", "iptables")
GUEST_MEMORY = 256 << 20
"""Bytes that a guest machine takes; each of pytest's workers has one."""
ENOUGH_DISK = 64 << 20
"""Bytes that the reports of a run with many failures take, captures included."""


@dataclass(frozen=True)
class Finding:
    """
    One thing looked at.

    `ok`: it is there; `note`: the suite runs without it; `LACK`: it does not, or leaves out what a verdict needs.
    """

    state: Literal["ok", "note", "LACK"]
    what: str
    found: str
    remedy: str | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Takes live hosts instead of this machine."""
    parser.add_argument("--json", action="store_true", help="print the report for programs (docs/troubleshooting.md)")
    live_doctor.arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for everything looked at, then whether the suite can run."""
    if arguments.hosts is not None:
        return live_doctor.run(arguments)
    live_doctor.refuse_alone(arguments)
    found = findings()
    lacks = [finding.what for finding in found if finding.state == "LACK"]
    if arguments.json:
        print(json.dumps(_document(found, lacks), indent=1))
        return FAILED if lacks else 0
    width = max(len(finding.what) for finding in found)
    for finding in found:
        print(f"{finding.state:4}  {finding.what.ljust(width)}  {finding.found}")
        if finding.remedy is not None and finding.state != "ok":
            print(f"{'':4}  {'':{width}}  fix: {finding.remedy}")
    print()
    if lacks:
        print(f"the suite cannot run as it must: {', '.join(lacks)}")
        return FAILED
    print(f"the suite can run: {choose.choose('auto', TUNNEL).reason}")
    return 0


def _document(found: Sequence[Finding], lacks: Sequence[str]) -> dict[str, object]:
    """The report for programs, with the keys that it has for live hosts."""
    checks = [
        {
            "state": {"ok": "ok", "note": "warning", "LACK": "problem"}[finding.state],
            "host": "this machine",
            "role": "",
            "check": finding.what,
            "found": finding.found,
            "fix": (finding.remedy or "") if finding.state != "ok" else "",
            "fix_on": "",
        }
        for finding in found
    ]
    ready = not lacks
    status = 0 if ready else FAILED
    return {
        "schema": live_doctor.SCHEMA,
        "ready": ready,
        "exit_status": status,
        "hosts": {},
        "checks": checks,
        "findings": [],
    }


def findings() -> list[Finding]:
    """Everything that the suite needs, in the order in which it would miss it."""
    kernel = abilities.probe([*choose.EVERY_LAB, TUNNEL, "vxlan"])
    checks: tuple[Callable[[], Finding], ...] = (_python, _packages, _reports, _guest, _processors, _memory)
    found = [check() for check in checks]
    found[3:3] = [_namespaces(kernel), *_kernel(kernel)]
    return [*found, _verdict(), _iptables(kernel), _tools(), _applications()]


def _python() -> Finding:
    version = platform.python_version()
    needed = ".".join(map(str, OLDEST_PYTHON))
    if sys.version_info < OLDEST_PYTHON:
        remedy = "OVERCAST_PYTHON=/path/to/python3 ./overcast doctor"
        return Finding("LACK", "Python", f"{version}, expected {needed} or newer", remedy)
    return Finding("ok", "Python", f"{version} ({sys.executable})")


def _packages() -> Finding:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("LACK", "packages", f"not installed: {', '.join(missing)}", "rm -rf .venv; ./overcast doctor")
    return Finding("ok", "packages", "as requirements.lock names them")


def _reports() -> Finding:
    place = REPORTS if REPORTS.is_dir() else ROOT
    if not os.access(place, os.W_OK):
        return Finding("LACK", "reports/", f"{place} is not writable for you", f"sudo chown -R $(id -un) {REPORTS}")
    free = shutil.disk_usage(place).free
    if free < ENOUGH_DISK:
        return Finding("LACK", "reports/", f"{free >> 20} MiB left on its disk", "make room: 64 MiB are enough")
    return Finding("ok", "reports/", f"writable, {_size(free)} free")


def _namespaces(kernel: abilities.Abilities) -> Finding:
    problem = local.unavailable() if kernel.namespaces else local.missing_program()
    if problem is not None:
        return Finding("note", "namespaces", problem.message, problem.remedy)
    who = "root" if os.geteuid() == 0 else "user namespaces are allowed: no root needed"
    return Finding("ok", "namespaces", who)


def _kernel(kernel: abilities.Abilities) -> list[Finding]:
    """What this kernel can make; only notes, since a guest kernel can do what it cannot."""
    if kernel.namespaces:
        return []
    lacking = [what for what, number in kernel.named() if number and what != TUNNEL]
    release = platform.release()
    others = (
        Finding("note", f"kernel {release}", f"no {', no '.join(lacking)}", abilities.remedy(lacking[0]))
        if lacking
        else Finding("ok", f"kernel {release}", "vxlan, veth, bridge, traffic filters, packet sockets")
    )
    number = kernel.kinds[TUNNEL]
    if number == 0:
        return [others, Finding("ok", TUNNEL, "this kernel has it")]
    why = "no module for it" if number in abilities.UNKNOWN else os.strerror(number)
    return [others, Finding("note", TUNNEL, f"not in this kernel ({why})", abilities.remedy(TUNNEL))]


def _guest() -> Finding:
    problem = guest.available()
    if problem is None:
        try:
            where = uml.memory_directory(GUEST_MEMORY)
        except OvercastError as error:
            return Finding("note", "guest kernel", error.message, error.remedy)
        return Finding("ok", "guest kernel", f"{uml.Kernel.find().program}, its memory in {where}")
    return Finding("note", "guest kernel", problem.message, problem.remedy)


def _verdict() -> Finding:
    try:
        chosen = choose.choose("auto", TUNNEL)
    except OvercastError as problem:
        return Finding("LACK", "the lab", problem.message, problem.remedy)
    where = "in a guest kernel" if chosen.kind == "guest" else "on this kernel"
    return Finding("ok", "the lab", f"runs {where}; with --tunnel=vxlan {_where_vxlan()}")


def _where_vxlan() -> str:
    try:
        return "on this kernel" if choose.choose("auto", "vxlan").kind == "local" else "in a guest kernel too"
    except OvercastError:
        return "nowhere"


def _iptables(kernel: abilities.Abilities) -> Finding:
    there = [name for name in IPTABLES if shutil.which(name)]
    if not there:
        return Finding(
            "LACK",
            "iptables",
            "not installed: the tests set a host's firewall with it",
            "sudo apt-get install iptables",
        )
    kinds = " and ".join(name.removeprefix("iptables-") for name in there if "-" in name) or "installed"
    if kernel.namespaces or kernel.kinds[TUNNEL]:
        return Finding("ok", "iptables", f"{kinds} (the guest kernel has the modules for it)")
    said = [_refusal_of(name) for name in there]
    if all(said):
        remedy = abilities.remedy("iptables") or "use a guest kernel, which has the modules: ./overcast --kernel=guest"
        return Finding("LACK", "iptables", f"{kinds}, but not on this kernel: {said[0]}", remedy)
    return Finding("ok", "iptables", f"{kinds}; {there[said.index('')]} works on this kernel")


def _refusal_of(iptables: str) -> str:
    """What iptables says when it lists the rules of a new network stack; empty when it does."""
    listed = subprocess.run(
        [*local.unshare_command(), iptables, "-S"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if listed.returncode == 0 else (listed.stderr.strip() or f"exit status {listed.returncode}")


def _applications() -> Finding:
    missing = packages.missing(*packages.PACKAGES)
    if not missing:
        return Finding("ok", "applications", ", ".join(packages.PACKAGES))
    wanted = f"no {', no '.join(missing)}: only --applications asks for it"
    return Finding("note", "applications", wanted, packages.remedy(missing))


def _processors() -> Finding:
    allowed, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    limit = "" if allowed == present else f" of {present}"
    return Finding("ok", "processors", f"{allowed}{limit}: pytest -n auto starts as many workers, each with a lab")


def _memory() -> Finding:
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    free = 1024 * kilobytes["MemAvailable"]
    if free < 2 * GUEST_MEMORY:
        return Finding("note", "memory", f"{_size(free)} available; a guest kernel takes up to {_size(GUEST_MEMORY)}")
    return Finding("ok", "memory", f"{_size(free)} available")


def _tools() -> Finding:
    packages = {"ping": "iputils-ping", "tcpdump": "tcpdump", "ip": "iproute2"}
    missing = [program for program in packages if shutil.which(program) is None]
    if not missing:
        return Finding("ok", "to look around", ", ".join(packages))
    remedy = f"sudo apt-get install {' '.join(packages[program] for program in missing)}"
    return Finding("note", "to look around", f"for ./overcast exec there is no {', no '.join(missing)}", remedy)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"
