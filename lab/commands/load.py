"""`overcast load`: how many datagrams a second reach every host, their latency, and what limits the rate."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import laboratory, live, roles
from lab.commands import options
from lab.commands.load_table import compared, table
from lab.errors import CheckFailed, EnvironmentProblem, UsageProblem
from lab.laboratory import Lab
from lab.machines import choose, hosts, processors, ssh
from lab.machines.ssh_link import Login
from lab.model import Underlay
from lab.probes import throughput
from lab.probes.load import KINDS, LARGEST, LEAST, SIZE, Kind, Load, Trial
from lab.probes.throughput import Throughput
from lab.providers import DEFAULT_CLOUD, provider

SUMMARY = "Measures how many datagrams a second reach every receiver, their latency, and what limits the rate."
SCHEMA = 1
LIVE_MOST = 1000
"""Datagrams a second that live hosts are sent unless the user allows more."""
REPEAT = 3
SHARES = (10, 50, 90)  # percent of the loss-free rate at which latency is measured
BURSTS = tuple(2**power for power in range(3, 17))
LATENCY = 0.4  # seconds of a trial for latency
COST = 1.0  # seconds of a trial for processor time, which kernels count in hundredths


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    options.add(parser)
    group = parser.add_argument_group("live hosts", "datagrams are sent between them, and nothing is changed")
    for name, fields in options.FOUND_OPTIONS.items():
        group.add_argument(name, **fields)
    group.add_argument(
        "--load-max",
        type=float,
        metavar="RATE",
        help=f"datagrams a second at most (default: {LIVE_MOST} for live hosts, no bound in a lab)",
    )
    parser.add_argument("--size", type=int, default=SIZE, metavar="OCTETS", help=f"UDP payload (default: {SIZE})")
    parser.add_argument(
        "--repeat", type=int, default=REPEAT, metavar="N", help=f"measurements of each rate (default: {REPEAT})"
    )
    parser.add_argument(
        "--buffer", type=int, metavar="OCTETS", help="receive buffer of the receivers (default: 4 MiB, as root)"
    )
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with the output of an earlier --json")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; the figures decide nothing."""
    _refuse(arguments)
    earlier = _read(arguments.baseline) if arguments.baseline else None
    with _live(arguments) if arguments.hosts else _lab(arguments) as (lab, about):
        most = LIVE_MOST if arguments.load_max is None and arguments.hosts else arguments.load_max or 0.0
        report = {
            **about,
            **measure(lab, arguments.size, arguments.repeat, most, arguments.buffer, bool(arguments.hosts)),
        }
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        print("\n".join([*table(report), *(compared(earlier, report) if earlier else ())]))
    return 0


def _refuse(arguments: argparse.Namespace) -> None:
    for name, least, most in (("size", LEAST, LARGEST), ("repeat", 1, 100), ("load_max", 1, 10**7)):
        value = getattr(arguments, name)
        if value is not None and not least <= value <= most:
            raise UsageProblem(f"--{name.replace('_', '-')} {value:g}: expected {least} to {most}")
    if arguments.size % 8:
        raise UsageProblem(f"--size {arguments.size}: expected a multiple of 8")
    if arguments.hosts:
        given = [name for name in options.LAB_OPTIONS if getattr(arguments, name[2:]) and name != "--provider"]
        if given:
            raise UsageProblem(f"{', '.join(given)}: cannot be used with --hosts, whose overlay is used as it is")
        return
    for name in ("overlay", "ssh_config", "ssh_identity_file", "sudo"):
        if getattr(arguments, name):
            raise UsageProblem(f"--{name.replace('_', '-')} requires --hosts=HUB,SPOKE,...")


@contextlib.contextmanager
def _lab(arguments: argparse.Namespace) -> Iterator[tuple[Lab, dict[str, Any]]]:
    plan = options.understood(arguments)
    choice = plan.choice()
    print(f"overcast: {choice.reason}", file=sys.stderr)
    if busy := processors.busy():
        print(f"overcast: {busy}", file=sys.stderr)
    with choose.running(choice, len(plan.topology.spokes)) as starting:
        machine = starting.machine()
        with laboratory.build(machine, plan.topology, plan.underlay) as lab:
            yield lab, _about(lab, f"{machine.kind} kernel {machine.facts['kernel']}", {})


@contextlib.contextmanager
def _live(arguments: argparse.Namespace) -> Iterator[tuple[Lab, dict[str, Any]]]:
    specs = hosts.parse(arguments.hosts)
    connected = ssh.reach(specs, Login(arguments.ssh_config, arguments.ssh_identity_file, arguments.sudo))
    try:
        for failure in connected.failures:
            raise failure
        ssh.claim(connected)
        who = roles.recognised(specs, connected, overlay=arguments.overlay)
        cloud = provider(arguments.provider or DEFAULT_CLOUD)
        looked = live.look(who.connected.machines, Underlay(cloud), arguments.overlay)
        if looked.lab is None:
            raise EnvironmentProblem(
                "no overlay was found on the hosts",
                remedy=f"./overcast doctor --hosts={arguments.hosts}",
            )
        names = {spec.role: spec.destination for spec in who.specs}
        first = next(iter(who.connected.machines.values()))
        yield looked.lab, _about(looked.lab, f"live, kernel {first.facts['kernel']}", names)
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


def measure(lab: Lab, size: int, repeat: int, most: float, buffer: int | None, several_clocks: bool) -> dict[str, Any]:
    """Every figure, from the first spoke to all other hosts, as builtins for JSON."""
    sender = lab.spokes[0].name
    receivers = lab.others(sender)
    found: dict[Kind, list[Throughput]] = {kind: [] for kind in KINDS}
    with Load(lab.nodes, lab.topology, sender, receivers, size=size, buffer=buffer) as load:
        for _ in range(repeat):  # in turn: what a busy machine does to one kind it does to all
            for kind in KINDS:
                found[kind].append(_measured(load, kind, most))
        results = {kind: _result(each) for kind, each in found.items()}
        rate = results["multicast"]["rate"]
        at = lab.topology.centre if lab.topology.centre in receivers else receivers[0]
        cost = load.send("multicast", rate=max(1.0, rate / 2), seconds=COST).cost(at)
        late = [_latency(load, share, rate, several_clocks) for share in SHARES]
    with Load(lab.nodes, lab.topology, sender, receivers, size=size, buffer=_default_buffer(lab, receivers[0])) as load:
        burst = _burst(load, most)
    fan_out = []
    for count in _fewer(len(receivers)):
        with Load(lab.nodes, lab.topology, sender, receivers[:count], size=size, buffer=buffer) as load:
            fan_out.append({"receivers": count, "rate": _measured(load, "multicast", most).rate})
    return {
        "sender": sender,
        "receivers": receivers,
        "size": size,
        "most": most,
        "throughput": list(results.values()),
        "latency": late,
        "latency_is_spread": several_clocks,
        "burst": burst,
        "fan_out": [*fan_out, {"receivers": len(receivers), "rate": rate}],
        "cost": {"host": at, "microseconds": round(1e6 * cost, 1)},
    }


def _fewer(receivers: int) -> Iterator[int]:
    """Numbers of receivers below this one: 1, 2, 4, ..."""
    count = 1
    while count < receivers:
        yield count
        count *= 2


def _measured(load: Load, kind: Kind, most: float) -> Throughput:
    try:
        return throughput.measure(load, kind, most=most)
    except CheckFailed as deaf:
        raise EnvironmentProblem(str(deaf), remedy="the overlay does not deliver; run pytest for the cause") from None


def _result(each: Sequence[Throughput]) -> dict[str, Any]:
    """The loss-free rates of a kind of load, one for each repetition, and what limits the median one."""
    rates = [one.rate for one in each]
    rate = statistics.median_low(rates)
    middle = each[rates.index(rate)]
    found = {"kind": middle.kind, "receivers": middle.receivers, "rates": rates, "limit": middle.limit, "rate": rate}
    return {**found, "spread": (max(rates) - min(rates)) / rate}


def _latency(load: Load, share: int, rate: float, several_clocks: bool) -> dict[str, float]:
    """At a share of the loss-free rate, in microseconds; `skew` between the first and the last receiver."""
    trial = load.send("multicast", rate=max(1.0, rate * share / 100), seconds=LATENCY)
    # the clocks of two hosts differ by more than a datagram takes: then the quickest one is taken for none
    base = min(_each(trial), default=0.0) if several_clocks else 0.0
    skews = (0.0, 0.0) if several_clocks else (trial.skew(50), trial.skew(99))
    figures = [trial.latency(percent) - base for percent in (50, 99, 100)]
    names = ("p50", "p99", "most", "skew50", "skew99")
    times = {name: round(1e6 * figure, 1) for name, figure in zip(names, (*figures, *skews), strict=True)}
    return {"share": share, "rate": trial.rate, **times}


def _each(trial: Trial) -> Iterator[float]:
    return (late / 1e9 for heard in trial.heard.values() for late in heard.latencies.values())


def _default_buffer(lab: Lab, name: str) -> int:
    """SO_RCVBUF that a program gets that does not ask for one."""
    return int(lab[name].node.sysctl("net.core.rmem_default") or 0) // 2 or 106496


def _burst(load: Load, most: float) -> int | None:
    """
    The most datagrams in a row, as fast as they go, that programs with the default receive buffer all get.

    None where live hosts are to be spared that.
    """
    if most and most <= LIVE_MOST:
        return None
    best = 0
    for count in BURSTS:
        if most and count > most:
            break
        trial = load.send("multicast", rate=0, seconds=1.0, count=count)
        if trial.lost or trial.sent < count:
            break
        best = count
    return best


def _read(path: Path) -> dict[str, Any]:
    """An earlier report; UsageProblem when the file is none."""
    try:
        report = json.loads(path.read_text())
        if report["schema"] != SCHEMA or not report["throughput"]:
            raise KeyError("schema")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not what `overcast load --json` prints"
        raise UsageProblem(f"--baseline {path}: {why}", remedy=f"./overcast load --json > {path}") from None
    return dict(report)
