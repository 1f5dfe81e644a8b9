"""
The figures of `overcast load --json` as a page with plots: rate against loss, latency, and rate by number of receivers.

    loss |      o        points: trials       us |   __ max      lines: p50, p99 and max
       0 |oooooo___ datagrams/s                  |__/___ datagrams/s
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from lab.errors import UsageProblem
from reports.html.page import templates

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 76, 48, 14, 46
"""The margins around the field of a plot, for its ticks and titles."""
TICKS = 4
PERCENTILES = {"p50": "p50", "p99": "p99", "most": "max"}

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points of one kind, in the units of the axes; `joined` by a line, or each by itself."""

    name: str
    points: Sequence[Point]
    joined: bool


@dataclass(frozen=True)
class Plot:
    """What the template draws: both axes begin at 0 and end at a round number above every point."""

    title: str
    across: str
    upward: str
    series: Sequence[Series]
    width: int = WIDTH
    height: int = HEIGHT

    @cached_property
    def most(self) -> Point:
        """The ends of both axes."""
        points = [point for series in self.series for point in series.points]
        return _round_above(max(x for x, _ in points)), _round_above(max(y for _, y in points))

    def place(self, point: Point) -> Point:
        """Where a point is drawn."""
        x, y = point[0] / self.most[0], point[1] / self.most[1]
        return round(LEFT + x * (WIDTH - LEFT - RIGHT), 1), round(HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM), 1)

    def ticks(self, axis: int) -> Iterator[tuple[float, str]]:
        """The values of an axis (0: across, 1: upward), each with its place on it."""
        for number in range(TICKS + 1):
            value = self.most[axis] * number / TICKS
            yield self.place((value, value))[axis], f"{value:,.6g}"


def render(figures: Mapping[str, Any]) -> str:
    """The page for one measurement."""
    return templates().get_template("load.html").render(**figures, plots=list(plots(figures)))


def plots(figures: Mapping[str, Any]) -> Iterator[Plot]:
    """A plot of each kind that has figures: live hosts with a low rate have fewer."""
    multicast = [one for one in figures["throughput"] if one["kind"] == "multicast"]
    tried = [
        Series(one["tunnel"], [(rate, 100 * lost) for rate, lost in one["trials"]], False)
        for one in multicast
        if one.get("trials")
    ]
    if tried:
        yield Plot("Loss of multicast by rate, each trial", "datagrams/s", "lost by one receiver, %", tried)
    late = figures["latency"]
    if late:
        lines = [Series(name, [(one["rate"], one[key]) for one in late], True) for key, name in PERCENTILES.items()]
        yield Plot("Latency of multicast by rate", "datagrams/s", "microseconds", lines)
    if len(figures["fan_out"]) > 1:
        points = [(one["receivers"], one["rate"]) for one in figures["fan_out"]]
        yield Plot("Loss-free rate by number of receivers", "receivers", "datagrams/s", [Series("", points, True)])


def write(source: Path) -> Path:
    """Writes the page beside a file of figures, and returns it; UsageProblem where the file has none."""
    remedy = "./overcast load --json > load.json"
    try:
        figures = json.loads(source.read_text(encoding="utf-8"))
        page = render(figures)
    except OSError as error:
        raise UsageProblem(f"{source} cannot be read: {error.strerror}", remedy=remedy) from None
    except (ValueError, LookupError, TypeError, UndefinedError):
        raise UsageProblem(f"{source}: expected the output of `overcast load --json`", remedy=remedy) from None
    target = source.with_suffix(".html")
    target.write_text(page, encoding="utf-8")
    return target


def _round_above(value: float) -> float:
    """1, 2 or 5 times a power of ten: the first that is not below a value; 1 above nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
