"""`overcast designs`: builds each design of an overlay, takes away what can be lost, and prints what was missed."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from lab import laboratory
from lab.clouds.providers import DEFAULT_CLOUD, default_tunnel, for_tunnels, require_carried
from lab.commands import options
from lab.errors import EnvironmentProblem, OvercastError, UsageProblem
from lab.laboratory import BuiltLab
from lab.machines import abilities, choose
from lab.machines.base import Machine
from lab.model import Topology, TunnelOptions, Underlay
from lab.probes.outage.outages import KINDS, Outage, TrafficKind
from lab.probes.outage.stream import Stream
from lab.topology import designs
from lab.topology.designs import LEAST_SPOKES, MOST_SPOKES, Design, LossEvent
from lab.tunnels import DEFAULT, FALLBACK

SUMMARY = "Measures the losses when a hub, a tunnel's path or a host fails, for each design of an overlay."
SPOKES = 3
SETTLED_WITHIN = 40.0  # seconds until every host receives from every other: STP's default timers take 30
STEADY = 0.5  # seconds of the stream before anything is lost, and while something is
AGAIN = 1.5  # seconds after which a recovered node forwards: a kernel resolves failed neighbours again after one
WORDS: dict[LossEvent, str] = {
    "hub": "the hub",
    "hub2": "the second hub",
    "leg": "one tunnel's path",
    "spoke": "one host",
    "takeover": "the hub, taken over by a standby",
    "slow": "20 ms more delay on one tunnel",
    "lossy": "5 % loss on one tunnel",
}
BACK = ", recovered"


@dataclass(frozen=True)
class EventLosses:
    """
    What was missed in one event by the receiver that missed most, of the kind of traffic of which most was missed.

    `silence` is the longest one of each kind, in seconds; None: nothing was heard again before the next event.
    """

    event: str
    silence: dict[TrafficKind, float | None]
    lost: int
    repeated: int
    disordered: int


@dataclass(frozen=True)
class DesignLosses:
    """
    One design: its MTU, how many packets the hosts sent on the cloud's network for one datagram, and its events.

    `patience` is how many seconds were waited for what was not heard again.
    """

    design: str
    title: str
    tunnel: str
    mtu: int
    packets: float
    patience: float
    rows: tuple[EventLosses, ...]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    parser.add_argument("names", nargs="*", metavar="DESIGN", help=f"designs: {', '.join(designs.MEASURED)}")
    parser.add_argument(
        "--slow", action="store_true", help="measure also those that take minutes (STP's default timers)"
    )
    parser.add_argument("--spokes", type=options.whole, default=SPOKES, metavar="N", help=f"spokes (default: {SPOKES})")
    usual = f"{DEFAULT}, or {FALLBACK} where the cloud blocks GRE"
    parser.add_argument("--tunnel", metavar="KIND", help=f"kind of tunnel (default: {usual})")
    parser.add_argument("--api-delay", **options.API_DELAY)
    options.add_provider(parser, DEFAULT_CLOUD)
    parser.add_argument("--kernel", **options.LAB_OPTIONS["--kernel"])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints each design as it comes; 1 where one could not be measured."""
    chosen = designs.named(arguments.names, slow=arguments.slow)
    cloud = for_tunnels(arguments.provider or DEFAULT_CLOUD, arguments.tunnel)
    tunnel = arguments.tunnel or default_tunnel(cloud)
    designs.api_delay(arguments.api_delay, [design.name for design in chosen])
    if not LEAST_SPOKES <= arguments.spokes <= MOST_SPOKES:
        raise UsageProblem(f"--spokes={arguments.spokes}: expected {LEAST_SPOKES} to {MOST_SPOKES}")
    plans = [
        (
            design,
            design.build(design.nearest(arguments.spokes), TunnelOptions(kind=design.kind(tunnel)), cloud.mtu),
        )
        for design in chosen
    ]
    for _, topology in plans:
        require_carried(cloud, topology.options.kind)
    choice = _kernel(arguments.kernel or "auto", plans)
    print(f"overcast: {choice.reason}", file=sys.stderr)
    measured, failed = [], 0
    with choose.running(choice, arguments.spokes + 2) as starting:
        machine = starting.machine()
        for design, topology in plans:
            try:
                with _built(machine, design, topology, Underlay(cloud)) as lab:
                    one = measure(lab, design, arguments.api_delay)
            except OvercastError as problem:
                print(f"overcast: not measured: {design.name}: {problem}", file=sys.stderr)
                failed = 1
                continue
            measured.append(one)
            if not arguments.json:
                print("\n".join(table(one, first=len(measured) == 1)), flush=True)
    if arguments.json:
        print(json.dumps([asdict(one) for one in measured], indent=2))
    return failed


def _kernel(wanted: str, plans: Sequence[tuple[Design, Topology]]) -> choose.Choice:
    """The running kernel where it has all that the designs are made of, otherwise a guest kernel."""
    first, *further = dict.fromkeys(
        kind for design, topology in plans for kind in (topology.options.kind, *design.kinds)
    )
    return choose.choose(wanted, first, kinds=further)


@contextlib.contextmanager
def _built(machine: Machine, design: Design, topology: Topology, underlay: Underlay) -> Iterator[BuiltLab]:
    try:
        lab = laboratory.build(machine, topology, underlay)
    except OSError as refusal:
        raise EnvironmentProblem(
            f"the kernel {machine.facts['kernel']} rejected the design's links ({refusal.strerror})",
            remedy=next((abilities.remedy(kind) for kind in design.kinds), None),
        ) from refusal
    with lab:
        yield lab


def measure(lab: BuiltLab, design: Design, api_delay: float = 0.0) -> DesignLosses:
    """What is missed of a stream from the first spoke to the others in each event of a design."""
    sender, *receivers = [spoke.name for spoke in lab.spokes]
    events: dict[str, list[str]] = {}
    with Stream(lab.nodes, lab.topology, sender, receivers) as stream:
        if not stream.await_heard(SETTLED_WITHIN):
            raise EnvironmentProblem(
                f"not all hosts received from all others within {SETTLED_WITHIN:g} s",
                remedy="use a less loaded machine",
            )
        packets = _packets_for_a_datagram(lab, stream, 2 + len(receivers))
        for loss in design.losses:
            lost = receivers[-1] if loss == "spoke" else loss
            # a host that is gone misses everything; its event is about the others
            there = [name for name in receivers if name != lost]
            stream.event(WORDS[loss])
            events[WORDS[loss]] = there
            with _gone(lab, loss, lost, api_delay, stream):
                if stream.await_heard(design.patience, at=there):
                    stream.go_on(STEADY)
                if loss != "takeover":
                    stream.event(WORDS[loss] + BACK)
                    events[WORDS[loss] + BACK] = there
            stream.await_heard(design.patience)
            stream.go_on(AGAIN)
    outages = stream.outages()
    rows = [
        _worst(event, [one for one in outages if one.event == event and one.receiver in there])
        for event, there in events.items()
    ]
    mtu = lab[sender].node.link(lab[sender].plan.device).mtu
    return DesignLosses(
        design.name, design.title, lab.topology.options.kind, mtu, packets, design.patience, tuple(rows)
    )


def _packets_for_a_datagram(lab: BuiltLab, stream: Stream, targets: int) -> float:
    """How many packets the hosts send on the cloud's network for one datagram of a stream to so many targets."""
    before, began = _packets(lab), stream.count()
    stream.go_on(STEADY)
    return (_packets(lab) - before) / ((stream.count() - began) * targets)


def _gone(lab: BuiltLab, loss: LossEvent, name: str, api_delay: float, stream: Stream) -> AbstractContextManager[None]:
    """Something is down for a `with` block; no link of another host shows it."""
    if loss == "takeover":
        lab.fail_over(lambda: stream.go_on(api_delay) if api_delay else None)
        return contextlib.nullcontext()
    return lab.without(name)


def _packets(lab: BuiltLab) -> int:
    """How many packets the hosts have sent on the cloud's network."""
    return sum(host.node.statistics(host.plan.nic)["tx_packets"] for host in lab.hosts.values())


def _worst(event: str, outages: Sequence[Outage]) -> EventLosses:
    return EventLosses(
        event,
        {kind: _silence([one for one in outages if one.kind == kind]) for kind in KINDS},
        lost=max(one.lost for one in outages),
        repeated=max(one.repeated for one in outages),
        disordered=max(one.disordered for one in outages),
    )


def _silence(outages: Sequence[Outage]) -> float | None:
    return max(one.silence for one in outages) if all(one.recovered for one in outages) else None


INTRODUCTION = """\
The first spoke sends a numbered stream to the others, by broadcast, multicast and unicast.  For each event, the table
has the longest time in which a receiver received nothing.  Lost, duplicate and out-of-order datagrams are counted for
each receiver and each kind of traffic; the table has the highest count.
"""
HEAD = ("what fails", *KINDS, "lost", "duplicates", "out of order")
WIDTHS = (48, 15, 15, 15, 7, 12, 0)


def table(one: DesignLosses, *, first: bool) -> Iterator[str]:
    """The lines of a design, below the head of the table for the first one."""
    if first:
        yield INTRODUCTION
        yield _line(HEAD)
    yield f"{one.design}: {one.title}"
    yield f"  {one.tunnel}, MTU {one.mtu}, {one.packets:.1f} packets on the cloud's network per datagram"
    for row in one.rows:
        silences = (_words(row.silence[kind], one.patience) for kind in KINDS)
        yield _line((f"  {row.event}", *silences, str(row.lost), str(row.repeated), str(row.disordered)))


def _words(silence: float | None, patience: float) -> str:
    if silence is None:
        return f"over {patience:g} s"
    return f"{silence:.2f} s" if silence else "none"


def _line(cells: Sequence[str]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()
