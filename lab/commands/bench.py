"""`overcast bench`: what a lab and a delivery check cost here, beside the bars that the project holds itself to."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab import laboratory
from lab.clouds.providers import provider
from lab.errors import EnvironmentProblem, MachineLost, UsageProblem
from lab.laboratory import BuiltLab
from lab.machines import choose, processors
from lab.machines.base import Machine, call
from lab.machines.node import Agent, Node, close
from lab.model import TunnelOptions, Underlay
from lab.stack.changes import link_add, veth
from lab.topology import topologies

SUMMARY = (
    "Measures how long it takes to start a lab, to set it up, and to check one delivery (the last two also per spoke)."
)

TUNNELS = {"host": "vxlan", "guest": "gretap"}
"""The kernels, and the tunnel that each is measured with: every kernel has VXLAN, every guest has gretap."""

SIZES = {2: 20, 10: 5, 50: 3, 250: 1}
"""Spokes, and how many such labs are built for a median (of another size: one)."""

CHECKS = {2: 50, 10: 10}
"""Spokes, and how many delivery checks are made in the last of these labs (of another size: three)."""

MOST_LISTENERS = 50
"""
Hosts that take part in a check.  Each one's fence leaves entries in two neighbour tables, and the kernel has 1024 for
all namespaces together (net.ipv4.neigh.default.gc_thresh3): beyond, it drops what has no neighbour, the probe included.
"""

MOST_ROUNDS = 5
"""Checks after which neighbours that have not learnt of each other never will."""

MOST_CLOSED = 40
"""Stacks of closed labs that no agent has the kernel remove yet, not even in a guest's little memory."""

CLEAN_UP = 60.0  # seconds that a kernel may take to remove the stacks of large labs

BARS = {
    ("host", "lab built"): 40.0,
    ("host", "delivery check"): 3.0,
    ("guest", "agent answers"): 1500.0,
    ("guest", "pyroute2 imported"): 1000.0,
}
"""Milliseconds at most."""


@dataclass
class Figures:
    """What one kernel was measured at; every time in milliseconds."""

    kernel: str
    tunnel: str
    times: dict[str, float] = field(default_factory=dict)
    build_per_spoke: dict[int, float] = field(default_factory=dict)
    check_per_host: dict[int, float] = field(default_factory=dict)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    parser.add_argument("--kernel", metavar="WHICH", default="both", help="host, guest or both (default: both)")
    sizes = ",".join(map(str, SIZES))
    parser.add_argument("--spokes", metavar="N,N,...", default=sizes, help=f"sizes of labs (default: {sizes})")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; the figures decide nothing, but a kernel that was lost on the way is a failure."""
    if arguments.kernel not in ("both", *TUNNELS):
        raise UsageProblem(f"unknown kernel {arguments.kernel!r}: expected host, guest or both")
    sizes = _sizes(arguments.spokes)
    if busy := processors.busy():
        print(f"overcast: {busy}", file=sys.stderr)
    measured: dict[str, Figures] = {}
    lost = False
    for name in TUNNELS if arguments.kernel == "both" else (arguments.kernel,):
        try:
            measured[name] = measure(name, sizes)
        except EnvironmentProblem as problem:
            if arguments.kernel != "both":
                raise
            lost = lost or isinstance(problem, MachineLost)
            reason = str(problem) if isinstance(problem, MachineLost) else problem.message
            print(f"overcast: not measured: {name} kernel: {reason}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({name: asdict(figures) for name, figures in measured.items()}, indent=2))
    else:
        print("\n".join(_table(measured, sizes)))
    return int(lost)


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise UsageProblem(f"--spokes={text}: expected numbers with commas between them, such as 2,10") from None
    for size in sizes:
        topologies.star(size)  # refuses what no lab can have
    return sizes


def measure(name: str, sizes: Sequence[int]) -> Figures:
    """All figures of one kernel."""
    choice = choose.choose(name, TUNNELS[name])
    if choice.kind == "local":
        sizes = _fitting(sizes)
    with choose.running(choice, max(sizes, default=2)) as starting:
        machine = starting.machine()
        figures = Figures(str(machine.facts["kernel"]), TUNNELS[name])
        figures.times = {
            "agent answers": 1000 * starting.answered,
            "pyroute2 imported": 1000 * (starting.warm - starting.answered),
        }
        home = Node.home("home", machine)
        for size in sorted({2, *sizes}):
            build, check, close = _labs(home, figures.tunnel, size)
            if size == 2:
                figures.times |= {
                    "lab built": build,
                    "delivery check": check,
                    "delivery check without taps": _untapped(home, figures.tunnel),
                    "lab closed": close,
                }
            if size in sizes:
                figures.build_per_spoke[size] = build / size
                figures.check_per_host[size] = check / min(size, MOST_LISTENERS)
        return figures


def _fitting(sizes: Sequence[int]) -> list[int]:
    """The sizes that this kernel's shared tables bear; larger labs would lose the packets of other runs beside them."""
    lacks = {size: choose.lack_of_room(size + 1) for size in sizes}
    for size, lack in lacks.items():
        if lack is not None:
            print(f"overcast: not measured: host kernel, {size} spokes: {lack.message}", file=sys.stderr)
    return [size for size, lack in lacks.items() if lack is None]


def _labs(home: Node, tunnel: str, spokes: int) -> tuple[float, float, float]:
    """Median milliseconds to build a lab, to check a broadcast in it, to close it."""
    builds, checks, closes = [], [], []
    count = SIZES.get(spokes, 1)
    for number in range(count):
        if number % max(1, MOST_CLOSED // (spokes + 2)) == 0:
            _settle(home)
        began = time.perf_counter()
        lab = _build(home.machine, tunnel, spokes)
        builds.append(time.perf_counter() - began)
        if number == count - 1:
            _meet(lab)
            checks = [_tapped_check(lab) for _ in range(CHECKS.get(spokes, 3))]
        began = time.perf_counter()
        lab.close()
        closes.append(time.perf_counter() - began)
    build, check, close = (1000 * statistics.median(times) for times in (builds, checks, closes))
    return build, check, close


def _untapped(home: Node, tunnel: str) -> float:
    """Median milliseconds of the same check in a lab without captures."""
    with _build(home.machine, tunnel, 2) as lab:
        _check(lab, tapped=())  # the first one resolves all addresses
        return 1000 * statistics.median(_check(lab, tapped=()) for _ in range(CHECKS[2]))


def _build(machine: Machine, tunnel: str, spokes: int) -> BuiltLab:
    topology = topologies.star(spokes, TunnelOptions(kind=tunnel))
    return laboratory.build(machine, topology, Underlay(provider("oci")))


def _meet(lab: BuiltLab) -> None:
    """
    Lets the neighbours of a new lab learn of each other, which in a large one takes longer than a fence may.

    Every first packet is an ARP request to all the spokes, captured on every leg.
    """
    sender = lab.spokes[0]
    for _ in range(MOST_ROUNDS):
        lab.forget()
        with lab.listen(lab.others(sender)[:MOST_LISTENERS]) as heard:
            sender.udp.send(to=lab.everyone)
        if not heard.unproved:
            return


def _tapped_check(lab: BuiltLab) -> float:
    """Seconds for a check with every interface captured, as tests make it."""
    lab.forget()
    return _check(lab, tapped=lab.tapped)


def _check(lab: BuiltLab, tapped: Sequence[Node]) -> float:
    """Seconds for: hosts listen, a spoke broadcasts, each of them heard it once, the fences arrived."""
    sender = lab.spokes[0]
    others = lab.others(sender)[:MOST_LISTENERS]
    began = time.perf_counter()
    with lab.listen(others, tapped=tapped) as heard:
        sender.udp.send(to=lab.everyone)
    heard.exactly_once(others)
    return time.perf_counter() - began


def _settle(home: Node) -> None:
    """
    Waits until the kernel has removed all labs that were closed: meanwhile it would hold the lock that building needs.

    It removes stacks in order.  So one more is closed whose device has its other end here: when that is gone, the
    kernel is at it, and when a second one is gone, it is done with what was before the first.
    """
    home.machine.batch([call(Agent.drop_closed)])
    for device in ("last0", "last1"):
        last = Node.create(home.machine, "last")
        home.apply(link_add(device, veth("peer", last["last"].handle)))
        close(home.machine, last.values())
        home.machine.batch([call(Agent.drop_closed)])
        home.ask(Agent.await_entries, "links", [{"name": device}], CLEAN_UP, present=False)


def _table(measured: dict[str, Figures], sizes: Sequence[int]) -> list[str]:
    rows = [("milliseconds", *(f"{name} {figures.kernel.partition('-')[0]}" for name, figures in measured.items()))]
    rows.append(("", *(figures.tunnel for figures in measured.values())))
    titles = dict.fromkeys(title for figures in measured.values() for title in figures.times)
    for title in titles:
        rows.append((title, *(_cell(figures.times[title], (name, title)) for name, figures in measured.items())))
    per_host = (
        ("lab built, per spoke of", "build_per_spoke"),
        ("delivery check, per listener among", "check_per_host"),
    )
    for title, attribute in per_host:
        for size in sizes:
            values = (getattr(figures, attribute).get(size) for figures in measured.values())
            cells = ("       -" if value is None else _cell(value) for value in values)
            rows.append((f"{title} {size}", *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cell(value: float, key: tuple[str, str] | None = None) -> str:
    text = f"{value:8.1f}"
    bar: Any = BARS.get(key) if key else None
    return text if bar is None else f"{text}  (bar {bar:g}{'' if value <= bar else ': MISSED'})"
