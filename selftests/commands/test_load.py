"""`./overcast load`: the figures of a lab, and how they differ from an earlier measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.commands.figures.table import compared
from lab.commands.main import main
from lab.machines import processors
from lab.probes.performance.load import KINDS


def report(*rates: float) -> dict[str, Any]:
    """A measurement with these rates of multicast."""
    throughput = [{"kind": "multicast", "tunnel": "vxlan", "rates": list(rates), "rate": max(rates), "spread": 0.07}]
    return {
        "tunnel": "vxlan",
        "topology": "star",
        "size": 64,
        "most": 0,
        "receivers": ["hub"],
        "throughput": throughput,
    }


def test_load_measures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Every kind has its rate and its limit; a second run is compared with the first."""
    given = ["load", "--tunnel=vxlan", "--repeat=1", "--load-max=200"]
    assert main([*given, "--json"]) == 0
    first = capsys.readouterr().out
    figures = json.loads(first)
    assert list(dict.fromkeys(one["kind"] for one in figures["throughput"])) == list(KINDS)
    for one in figures["throughput"]:
        assert 100 < one["rate"] < 300
        assert one["limit"] == "not reached: 200 a second was the most that was allowed"
    assert [one["share"] for one in figures["latency"]] == [10, 50, 90]
    assert figures["bursts"] == []
    assert [one["receivers"] for one in figures["fan_out"]] == [1, 2]

    (earlier := tmp_path / "earlier.json").write_text(first)
    assert main([*given, f"--baseline={earlier}"]) == 0
    said = capsys.readouterr().out
    assert "spoke1 sends to hub, spoke2" in said
    assert said.count("no change beyond the spread") == len(figures["throughput"])
    assert [(one["report"], one["leave"]) for one in figures["delays"]] == [(None, None)] * 2
    assert "join and leave of spoke2" in said
    assert "groups: not measured: in a lab without --load-max only" in said


@pytest.mark.parametrize(
    ("now", "word"),
    [((80.0, 85.0, 89.0), "slower"), ((95.0, 100.0, 104.0), "no change"), ((120.0, 125.0, 130.0), "faster")],
)
def test_a_change_is_more_than_the_spread(now: tuple[float, ...], word: str) -> None:
    """What differs by less than the repetitions do among themselves is no change."""
    (_, line) = compared(report(98.0, 101.0, 105.0), report(*now))
    assert word in line


def test_another_measurement_is_not_compared() -> None:
    """Figures of another tunnel or size are not set beside each other."""
    (_, line) = compared(report(98.0, 101.0, 105.0), {**report(1.0, 1.0, 1.0), "tunnel": "gretap"})
    assert line == "not compared with the baseline: another tunnel"


def test_a_busy_machine_is_named_with_its_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has the load, the number of processors, and what they do to the figures."""
    monkeypatch.setattr("os.getloadavg", lambda: (13.4, 0.0, 0.0))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    assert processors.busy() == (
        "this machine is busy (load 13.4 on 2 processors): the figures will be worse than those of an idle machine"
    )


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 1, "throughput": []}', "[1]"])
def test_a_baseline_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str) -> None:
    """A file that `overcast load` did not write is one message, whose fix does not overwrite it."""
    (path := tmp_path / "file").write_text(content)
    assert main(["load", f"--baseline={path}"]) == 2
    assert capsys.readouterr().err == (
        f"overcast: --baseline={path}: expected the output of `overcast load --json`\n"
        "  fix: ./overcast load --json > load-baseline.json    # later: --baseline=load-baseline.json\n"
    )
    assert path.read_text() == content
