"""`overcast watch`: exchanges datagrams between live hosts at an interval, and reports what changes, with the cause."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from lab import live
from lab.checkup.examination import UNKNOWN_CLOUD
from lab.clouds.providers import for_tunnels
from lab.commands.main import INCOMPLETE
from lab.commands.options import BY_FIRMWARE, FOUND_OPTIONS, add_provider, number
from lab.errors import OvercastError, UsageProblem
from lab.interrupts import INTERRUPTS
from lab.machines.live import hosts, ssh
from lab.machines.live.hosts import HostSpec
from lab.machines.live.ssh import Connected
from lab.machines.live.ssh_link import Login
from lab.model import Underlay
from lab.topology import roles
from lab.watch import events
from lab.watch.events import Event
from lab.watch.hosts import Hosts
from lab.watch.watch import Watch

if TYPE_CHECKING:
    from lab.watch.metrics import Metrics

SUMMARY = (
    "Monitors an overlay on live hosts, read-only: sends datagrams between all hosts at an interval, "
    "and reports each loss with its cause and fix.  Status 0: nothing was lost; 4: something was lost or "
    "duplicated; 10: a host could not be watched all the time; 1: the overlay cannot be watched."
)
LOST = 4
EVERY, LEAST, MOST = 10.0, 0.2, 3600.0  # seconds


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them; those of live hosts are pytest's."""
    for name, fields in FOUND_OPTIONS.items():
        parser.add_argument(name, **fields)
    add_provider(parser, BY_FIRMWARE)
    parser.add_argument(
        "--every", type=number, default=EVERY, metavar="SECONDS", help=f"interval between rounds (default: {EVERY:g})"
    )
    parser.add_argument("--for", dest="seconds", type=number, metavar="SECONDS", help="duration (default: unlimited)")
    parser.add_argument("--json-lines", action="store_true", help="print one JSON object per line (docs/watch.md)")
    parser.add_argument("--metrics", metavar="ADDRESS:PORT", help="serve metrics for Prometheus at this address")


def run(arguments: argparse.Namespace) -> int:
    """Watches until the time is over, or SIGINT or SIGTERM comes; then prints the figures."""
    if arguments.hosts is None:
        raise UsageProblem("watch requires --hosts=HUB,SPOKE,...")
    specs = hosts.parse(arguments.hosts)
    if not LEAST <= arguments.every <= MOST:
        raise UsageProblem(f"--every={arguments.every:g}: expected {LEAST:g} to {MOST:g} seconds")
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        raise UsageProblem(f"--for={arguments.seconds:g}: expected a number of seconds greater than 0")
    cloud = for_tunnels(arguments.provider) if arguments.provider else None
    login = Login(arguments.ssh_config, arguments.ssh_identity_file, arguments.sudo)
    with contextlib.ExitStack() as ending:
        metrics = _metrics(arguments.metrics)
        if metrics:
            ending.callback(metrics.close)
        INTERRUPTS.install()
        ending.callback(INTERRUPTS.uninstall)
        with INTERRUPTS.raising(anywhere=True):
            connected = ssh.reach(specs, login)
        ending.callback(connected.close)
        with INTERRUPTS.raising(anywhere=True):
            _require_two(connected)
            who = roles.recognised(specs, connected, overlay=arguments.overlay)
            if who.note:
                print(f"overcast: {who.note}", file=sys.stderr)
            if cloud is None:
                sighted = live.cloud(next(iter(connected.machines.values())))
                cloud = sighted.provider if sighted else UNKNOWN_CLOUD
            watched = Hosts(who.specs, who.connected.machines, login)
            ending.callback(watched.close)
            reporter = _reporter(arguments.json_lines)
            watch = Watch(watched, Underlay(cloud), arguments.every, reporter, metrics, arguments.overlay)
            _begin(watch, connected, _unreached(specs, connected, who.specs))
        with contextlib.suppress(KeyboardInterrupt), INTERRUPTS.raising():
            watch.run(arguments.seconds)
        return _end(watch, arguments.json_lines)


def _metrics(text: str | None) -> Metrics | None:
    if text is None:
        return None
    from lab.watch import metrics  # without the option its library is not needed

    return metrics.Metrics(*metrics.parse(text))


def _require_two(connected: Connected) -> None:
    """The error of the hosts that were not reached, where they leave no two."""
    if len(connected.machines) < 2:
        connected.all()


def _unreached(specs: Sequence[HostSpec], connected: Connected, now: Sequence[HostSpec]) -> dict[str, str]:
    """Why hosts were not reached, by the roles that they have now."""
    missing = [spec.text for spec in specs if spec.role not in connected.machines]
    why = dict(zip(missing, (failure.message for failure in connected.failures), strict=True))
    return {spec.role: why[spec.text] for spec in now if spec.text in why}


def _begin(watch: Watch, connected: Connected, unreached: Mapping[str, str]) -> None:
    """Begins; where the overlay is not understood and hosts were not reached, that is why."""
    try:
        watch.begin(unreached)
    except OvercastError:
        connected.all()
        raise


def _reporter(json_lines: bool) -> events.Emit:
    def report(event: Event) -> None:
        now = datetime.now(timezone.utc)
        text = json.dumps(event.data(now), ensure_ascii=False) if json_lines else event.text(now.astimezone())
        if text:
            print(text, flush=True)

    return report


def _end(watch: Watch, json_lines: bool) -> int:
    """Prints the figures; returns the exit status."""
    _, lost, duplicated = watch.ledger.total()
    status = LOST if lost or duplicated else INCOMPLETE if watch.absences else 0
    _reporter(json_lines)(events.summary(watch.ledger, watch.seconds, watch.rounds, status))
    if not json_lines and watch.rounds:
        print("\n".join(events.table(watch.ledger)), flush=True)
    return status
