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
from collections.abc import Callable
from pathlib import Path

from lab.applications import packages
from lab.checkup.check import Check
from lab.commands import options
from lab.commands.live import doctor
from lab.commands.main import FAILED
from lab.errors import OvercastError
from lab.machines import abilities, choose, local
from lab.machines.guests import guest, uml

SUMMARY = (
    "Lists what this machine lacks for the suite, with fixes.  With --hosts, examines live hosts and their overlay "
    "instead.  Status 0: no problem."
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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Takes live hosts instead of this machine."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON (docs/troubleshooting.md)")
    doctor.arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for everything looked at, then whether the suite can run."""
    if arguments.hosts is not None:
        return doctor.run(arguments)
    options.require_hosts(arguments, doctor.OPTIONS)
    found = checks()
    status = FAILED if any(check.state == "problem" for check in found) else 0
    if arguments.json:
        print(json.dumps(doctor.document(found, {}, (), status), indent=1))
    elif problems := doctor.show(found, {}):
        many = f"{len(problems)} problems; apply their fixes" if len(problems) > 1 else "1 problem; apply its fix"
        print(f"the suite cannot run: {many}, then: ./overcast doctor")
    else:
        print("the suite can run: ./overcast")
    return status


def _ok(what: str, found: str) -> Check:
    return Check("ok", "", what, found)


def _warning(what: str, found: str, remedy: str | None = None) -> Check:
    """The suite runs without it."""
    return Check("warning", "", what, found, remedy)


def _problem(what: str, found: str, remedy: str | None) -> Check:
    """The suite does not run, or leaves out what a verdict needs."""
    return Check("problem", "", what, found, remedy)


def checks() -> list[Check]:
    """Everything that the suite needs, in the order in which it would miss it."""
    kernel = abilities.probe([*choose.EVERY_LAB, TUNNEL, "vxlan"])
    each: tuple[Callable[[], Check], ...] = (_python, _packages, _reports, _guest, _processors, _memory)
    found = [check() for check in each]
    found[3:3] = [_namespaces(kernel), *_kernel(kernel)]
    return [*found, _verdict(), _iptables(kernel), _tools(), _applications()]


def _python() -> Check:
    version = platform.python_version()
    needed = ".".join(map(str, OLDEST_PYTHON))
    if sys.version_info < OLDEST_PYTHON:
        remedy = "OVERCAST_PYTHON=/path/to/python3 ./overcast doctor"
        return _problem("Python", f"{version}, expected {needed} or newer", remedy)
    return _ok("Python", f"{version} ({sys.executable})")


def _packages() -> Check:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return _problem("packages", f"not installed: {', '.join(missing)}", "rm -rf .venv; ./overcast doctor")
    return _ok("packages", "installed")


def _reports() -> Check:
    place = REPORTS if REPORTS.is_dir() else ROOT
    if not os.access(place, os.W_OK):
        return _problem("reports/", f"{place} is not writable for you", f"sudo chown -R $(id -un) {REPORTS}")
    free = shutil.disk_usage(place).free
    if free < ENOUGH_DISK:
        return _problem("reports/", f"{free >> 20} MiB left on its disk", "free at least 64 MiB on this disk")
    return _ok("reports/", f"writable, {_size(free)} free")


def _namespaces(kernel: abilities.Abilities) -> Check:
    problem = local.unavailable() if kernel.namespaces else local.missing_program()
    if problem is not None:
        return _warning("namespaces", problem.message, problem.remedy)
    who = "root" if os.geteuid() == 0 else "user namespaces are allowed: no root needed"
    return _ok("namespaces", who)


def _kernel(kernel: abilities.Abilities) -> list[Check]:
    """What this kernel can make; only notes, since a guest kernel can do what it cannot."""
    if kernel.namespaces:
        return []
    lacking = [what for what, number in kernel.named() if number and what != TUNNEL]
    release = platform.release()
    others = (
        _warning(f"kernel {release}", f"no {', no '.join(lacking)}", abilities.remedy(lacking[0]))
        if lacking
        else _ok(f"kernel {release}", "vxlan, veth, bridge, traffic filters, packet sockets")
    )
    number = kernel.kinds[TUNNEL]
    if number == 0:
        return [others, _ok(TUNNEL, "this kernel has it")]
    why = "no module for it" if number in abilities.UNKNOWN else os.strerror(number)
    return [others, _warning(TUNNEL, f"not in this kernel ({why})", abilities.remedy(TUNNEL))]


def _guest() -> Check:
    problem = guest.available()
    if problem is None:
        try:
            where = uml.memory_directory(GUEST_MEMORY)
        except OvercastError as error:
            return _warning("guest kernel", error.message, error.remedy)
        return _ok("guest kernel", f"{uml.Kernel.find().program}, its memory in {where}")
    return _warning("guest kernel", problem.message, problem.remedy)


def _verdict() -> Check:
    try:
        chosen = choose.choose("auto", TUNNEL)
    except OvercastError as problem:
        return _problem("the lab", problem.message, problem.remedy)
    where = "in a guest kernel" if chosen.kind == "guest" else "on this kernel"
    return _ok("the lab", f"runs {where}; with --tunnel=vxlan {_where_vxlan()}")


def _where_vxlan() -> str:
    try:
        return "on this kernel" if choose.choose("auto", "vxlan").kind == "local" else "in a guest kernel too"
    except OvercastError:
        return "nowhere"


def _iptables(kernel: abilities.Abilities) -> Check:
    there = [name for name in IPTABLES if shutil.which(name)]
    if not there:
        return _problem(
            "iptables",
            "not installed: the tests set a host's firewall with it",
            "sudo apt-get install iptables",
        )
    kinds = " and ".join(name.removeprefix("iptables-") for name in there if "-" in name) or "installed"
    if kernel.namespaces or kernel.kinds[TUNNEL]:
        return _ok("iptables", f"{kinds} (the guest kernel has the modules for it)")
    said = [_refusal_of(name) for name in there]
    if all(said):
        remedy = abilities.remedy("iptables") or "use a guest kernel, which has the modules: ./overcast --kernel=guest"
        return _problem("iptables", f"{kinds}, but not on this kernel: {said[0]}", remedy)
    return _ok("iptables", f"{kinds}; {there[said.index('')]} works on this kernel")


def _refusal_of(iptables: str) -> str:
    """The error of iptables when it lists the rules of a new network stack; empty if there is none."""
    listed = subprocess.run(
        [*local.unshare_command(), iptables, "-S"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if listed.returncode == 0 else (listed.stderr.strip() or f"exit status {listed.returncode}")


def _applications() -> Check:
    missing = packages.missing(*packages.PACKAGES)
    if not missing:
        return _ok("applications", ", ".join(packages.PACKAGES))
    wanted = f"not installed: {', '.join(missing)}; only --applications needs them"
    return _warning("applications", wanted, packages.remedy(missing))


def _processors() -> Check:
    allowed, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    limit = "" if allowed == present else f" of {present}"
    workers = "1 worker" if allowed == 1 else f"{allowed} workers"
    return _ok("processors", f"{allowed}{limit}; pytest -n auto starts {workers}, each with a lab")


def _memory() -> Check:
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    free = 1024 * kilobytes["MemAvailable"]
    if free < 2 * GUEST_MEMORY:
        return _warning("memory", f"{_size(free)} available; a guest kernel takes up to {_size(GUEST_MEMORY)}")
    return _ok("memory", f"{_size(free)} available")


def _tools() -> Check:
    missing = [program for program in packages.TOOLS if shutil.which(program) is None]
    if not missing:
        return _ok("tools", ", ".join(packages.TOOLS))
    remedy = f"sudo apt-get install {' '.join(packages.TOOLS[program] for program in missing)}"
    return _warning("tools", f"not installed: {', '.join(missing)}; only commands of ./overcast exec use them", remedy)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"
