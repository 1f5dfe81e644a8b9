"""The figures of `overcast load` as a person reads them, and what has changed since an earlier measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.commands.figures.measuring import DEFAULT_BUFFER
from lab.probes.performance.capacity import MEMBERSHIPS

NOISE = 1.1  # beyond the spread of both runs: what counts as a change

HEAD = ("loss-free rate", "receivers", "datagrams/s", "spread", "what limits it")
DELAYS = "  {:<8}{:>16}{:>24}{:>18}{:>25}"
DELAYS_HEAD = ("the hub", "background/s", "join: after setsockopt", "after the report", "leave: after the report")
WIDTHS = (26, 11, 13, 8, 0)


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines that a person reads."""
    yield f"{report['tunnel']}, {report['topology']}, {report['where']}: {report['sender']} sends to " + ", ".join(
        report["receivers"]
    )
    yield f"UDP payload {report['size']} octets" + (
        f"; {report['most']:.0f} a second at most" if report["most"] else ""
    )
    yield ""
    yield _line(HEAD)
    for one in report["throughput"]:
        cells = (_title(one), str(one["receivers"]), f"{one['rate']:,.0f}", f"{one['spread']:.0%}", one["limit"])
        yield _line(cells)
    yield ""
    what = "delay beyond the quickest" if report["latency_is_spread"] else "latency"
    yield f"{what} of multicast, microseconds"
    yield "  share of the rate     p50     p99     max  between receivers p50   p99"
    for one in report["latency"]:
        between = ("-", "-") if report["latency_is_spread"] else (f"{one['skew50']:.0f}", f"{one['skew99']:.0f}")
        times = "".join(f"{one[name]:8.0f}" for name in ("p50", "p99", "most"))
        yield f"  {one['share']:>3} % {one['rate']:>11,.0f}{times}{between[0]:>22}{between[1]:>8}"
    yield ""
    where = f"on {report['cost']['host']}" if report["hosts"] else "all hosts together"
    yield f"processor time for each delivered copy, {where}: {report['cost']['microseconds']:.0f} microseconds"
    rates = "; ".join(f"{one['rate']:,.0f} with {one['receivers']}" for one in report["fan_out"])
    yield f"loss-free rate of multicast by the number of receivers: {rates}"
    for one in report["bursts"]:
        every = ", the longest burst sent" if one["held"] == one["sent"] else ""
        share = "half of " if one["parameter"] == DEFAULT_BUFFER else ""  # the kernel doubles what a program sets
        what = f"SO_RCVBUF {one['buffer']:,} ({share}{one['parameter']})"
        yield f"burst that fits a receive buffer, {what}: {one['held']:,} datagrams{every}"
    yield from _membership(report)


def _title(one: Mapping[str, Any]) -> str:
    return f"{one['kind']}, {one['tunnel']}" if one["tunnel"] else "unicast on the underlay"


def _membership(report: Mapping[str, Any]) -> Iterator[str]:
    """The delays of a join and a leave, and the number of groups."""
    yield ""
    if report["delays"]:
        yield f"join and leave of {report['member']}, milliseconds (± {report['delays'][0]['precision']:g})"
        yield DELAYS.format(*DELAYS_HEAD)
    for one in report["delays"]:
        floods = one["report"] is None
        delays = ("-", "never") if floods else (f"{one['report']:.1f}", f"{one['leave']:,.0f}")
        what = "floods" if floods else "prunes"
        yield DELAYS.format(what, f"{one['beside']:,.0f}", f"{one['called']:.1f}", *delays)
    if report["delays_skipped"]:
        yield f"join and leave: not measured: {report['delays_skipped']}"
    if report["capacity_skipped"]:
        yield f"groups: not measured: {report['capacity_skipped']}"
        return
    groups = report["capacity"]
    yield f"groups that the hub forwards only to their members: {groups['groups']:,}"
    yield f"  {groups['limit']}"
    if groups["remedy"]:
        yield f"  for more (hub): {groups['remedy']}"
    more = f"sysctl -w {MEMBERSHIPS}={2 * groups['per_socket']}"
    yield f"groups that one socket may join: {groups['per_socket']}; for more: {more}"


def _line(cells: Sequence[str]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def compared(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What became faster or slower than the repetitions of both runs differ among themselves."""
    yield ""
    differing = [name for name in ("tunnel", "topology", "size", "most", "receivers") if before[name] != now[name]]
    if differing:
        yield f"not compared with the baseline: another {' and '.join(differing)}"
        return
    earlier = {_title(one): one for one in before["throughput"]}
    for one in now["throughput"]:
        if _title(one) not in earlier:
            continue
        was = earlier[_title(one)]
        ratio = one["rate"] / was["rate"]
        slower = max(one["rates"]) * NOISE < min(was["rates"])
        faster = min(one["rates"]) > max(was["rates"]) * NOISE
        word = "slower" if slower else "faster" if faster else "no change beyond the spread"
        spreads = f"spread {was['spread']:.0%} then, {one['spread']:.0%} now"
        yield f"{_title(one)}: {ratio:.2f} times the baseline's {was['rate']:,.0f} ({spreads}): {word}"
