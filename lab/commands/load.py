"""`overcast load`: how many datagrams a second reach every host, their latency, and what limits the rate."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import laboratory, live
from lab.clouds.providers import DEFAULT_CLOUD, for_tunnels, require_carried
from lab.commands import options
from lab.commands.figures.measuring import LoadSettings, measure
from lab.commands.figures.table import compared, table
from lab.commands.options import Plan, number, whole
from lab.errors import EnvironmentProblem, OvercastError, UsageProblem
from lab.laboratory import Lab
from lab.machines import choose, processors
from lab.machines.base import Machine
from lab.machines.live import hosts, ssh
from lab.machines.live.ssh_link import Login
from lab.model import Underlay
from lab.probes.performance.load import LARGEST, LEAST, SIZE
from lab.topology import roles
from lab.tunnels import DEFAULT, FALLBACK

SUMMARY = "Measures how many datagrams a second reach every receiver, their latency, and what limits the rate."
SCHEMA = 1
LIVE_MOST = 1000
"""Datagrams a second that live hosts are sent unless the user allows more."""
REPEAT = 6
MEASURE = "./overcast load --json > load-baseline.json    # later: --baseline=load-baseline.json"
"""Never a file that the user named: pasted, the command would overwrite it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    options.add(parser, live=True)
    group = parser.add_argument_group("live hosts", "datagrams are sent between them, and nothing is changed")
    for name, fields in options.FOUND_OPTIONS.items():
        group.add_argument(name, **fields)
    group.add_argument(
        "--load-max",
        type=number,
        metavar="RATE",
        help=f"highest rate, in datagrams a second (default: {LIVE_MOST} for live hosts, unlimited in a lab)",
    )
    parser.add_argument("--size", type=whole, default=SIZE, metavar="OCTETS", help=f"UDP payload (default: {SIZE})")
    parser.add_argument(
        "--repeat",
        type=whole,
        default=REPEAT,
        metavar="N",
        help=f"measurements of each rate (default: {REPEAT})",
    )
    parser.add_argument(
        "--buffer",
        type=whole,
        metavar="OCTETS",
        help="receive buffer of the receivers (default: 4 MiB, as root)",
    )
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with the output of an earlier --json")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; the figures decide nothing."""
    _refuse(arguments)
    earlier = _read(arguments.baseline) if arguments.baseline else None
    live = arguments.hosts is not None
    most = LIVE_MOST if arguments.load_max is None and live else arguments.load_max or 0.0
    wanted = LoadSettings(arguments.size, arguments.repeat, most, arguments.buffer)
    with _live(arguments) if live else _lab(arguments) as (labs, about):
        report = {**about, **measure(labs, wanted)}
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        print("\n".join([*table(report), *(compared(earlier, report) if earlier else ())]))
    return 0


def _refuse(arguments: argparse.Namespace) -> None:
    for name, least, most in (("size", LEAST, LARGEST), ("repeat", 1, 100), ("load_max", 1, 10**7)):
        value = getattr(arguments, name)
        if value is not None and not least <= value <= most:
            raise UsageProblem(f"--{name.replace('_', '-')}={value:g}: expected {least} to {most}")
    if arguments.size % 8:
        raise UsageProblem(f"--size={arguments.size}: expected a multiple of 8")
    if arguments.hosts is None:
        options.require_hosts(arguments, options.FOUND_OPTIONS)
        return
    given = [name for name in options.LAB_OPTIONS if getattr(arguments, name[2:]) is not None and name != "--provider"]
    if given := given + ["--routers"] * bool(arguments.routers):
        wrong = ", ".join(given)
        raise UsageProblem(f"{wrong}: cannot be used with --hosts, whose overlay is used as it is: remove {wrong}")


@contextlib.contextmanager
def _lab(arguments: argparse.Namespace) -> Iterator[tuple[list[Lab], dict[str, Any]]]:
    """The lab that was asked for, and where it can be one with the other kind of tunnel."""
    plan = options.understood(arguments)
    require_carried(for_tunnels(plan.underlay.provider.name), plan.tunnel)
    choice = plan.choice()
    print(f"overcast: {choice.reason}", file=sys.stderr)
    if busy := processors.busy():
        print(f"overcast: {busy}", file=sys.stderr)
    with choose.running(choice, len(plan.topology.spokes)) as starting, contextlib.ExitStack() as built:
        machine = starting.machine()
        labs: list[Lab] = [built.enter_context(laboratory.build(machine, plan.topology, plan.underlay))]
        if other := _with_another_tunnel(arguments, plan, machine):
            labs.append(built.enter_context(laboratory.build(machine, other.topology, other.underlay)))
        yield labs, _about(labs[0], f"{machine.kind} kernel {machine.facts['kernel']}", {})


def _with_another_tunnel(arguments: argparse.Namespace, plan: Plan, machine: Machine) -> Plan | None:
    """The same plan with gretap in place of VXLAN, and the reverse; why there is none is printed."""
    tunnel = DEFAULT if plan.tunnel == FALLBACK else FALLBACK
    try:
        other = options.understood(argparse.Namespace(**{**vars(arguments), "tunnel": tunnel}))
        there = replace(other, kernel="auto").choice().kind == machine.kind or machine.kind == "guest"
        why = "this kernel does not have it; a guest kernel has both: --kernel=guest"
    except OvercastError as lack:
        there, why = False, lack.message
    if not there:
        print(f"overcast: {tunnel} is not measured: {why}", file=sys.stderr)
    return other if there else None


@contextlib.contextmanager
def _live(arguments: argparse.Namespace) -> Iterator[tuple[list[Lab], dict[str, Any]]]:
    specs = hosts.parse(arguments.hosts)
    connected = ssh.reach(specs, Login(arguments.ssh_config, arguments.ssh_identity_file, arguments.sudo))
    try:
        for failure in connected.failures:
            raise failure
        ssh.claim(connected)
        who = roles.recognised(specs, connected, overlay=arguments.overlay)
        cloud = for_tunnels(arguments.provider or DEFAULT_CLOUD)
        looked = live.look(who.connected.machines, Underlay(cloud), arguments.overlay)
        if looked.lab is None:
            raise EnvironmentProblem(
                "no overlay was found on the hosts",
                remedy=f"./overcast doctor --hosts={arguments.hosts}",
            )
        names = {spec.role: spec.destination for spec in who.specs}
        first = next(iter(who.connected.machines.values()))
        yield [looked.lab], _about(looked.lab, f"live, kernel {first.facts['kernel']}", names)
    finally:
        connected.close()


def _about(lab: Lab, where: str, names: Mapping[str, str]) -> dict[str, Any]:
    topology = lab.topology
    return {
        "schema": SCHEMA,
        "tunnel": topology.options.kind,
        "topology": topology.name,
        "where": where,
        "hosts": names,
    }


def _read(path: Path) -> dict[str, Any]:
    """An earlier report; UsageProblem when the file is none."""
    try:
        report = json.loads(path.read_text())
        if report["schema"] != SCHEMA or not report["throughput"]:
            raise KeyError("schema")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        other = "expected the output of `overcast load --json`"
        why = problem.strerror if isinstance(problem, OSError) else other
        raise UsageProblem(f"--baseline={path}: {why}", remedy=MEASURE) from None
    return dict(report)
