"""The figures of a load as a page: `python -m reports load FILE`."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from reports.html import load_page

FIGURES: dict[str, Any] = {
    "tunnel": "vxlan",
    "topology": "star",
    "where": "local kernel",
    "sender": "spoke1",
    "receivers": ["hub", "spoke2"],
    "size": 64,
    "throughput": [
        {
            "kind": "multicast",
            "tunnel": "vxlan",
            "receivers": 2,
            "rate": 41000.0,
            "spread": 0.07,
            "limit": "spoke2: receive buffer, 12 datagrams dropped",
            "trials": [[200, 0.0], [41000, 0.0], [63000, 0.25]],
        }
    ],
    "latency": [
        {"share": share, "rate": 410.0 * share, "p50": 20.0, "p99": 60.0, "most": 7.0 * share} for share in (10, 50, 90)
    ],
    "fan_out": [{"receivers": 1, "rate": 70000.0}, {"receivers": 2, "rate": 41000.0}],
}


def test_the_plots_show_every_figure() -> None:
    """Loss by rate, latency by rate and rate by receivers: each figure is a point in the field, and in a table."""
    page = load_page.render(FIGURES)

    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Loss-free rates",
        "Loss of multicast by rate, each trial",
        "Latency of multicast by rate",
        "Loss-free rate by number of receivers",
    ]
    points = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', page)]
    assert len(points) == 3 + 9 + 2
    assert all(0 < x < load_page.WIDTH and 0 < y < load_page.HEIGHT for x, y in points)
    assert '<td class="count">63,000</td><td class="count">25</td>' in page
    assert '<td class="count">36,900</td><td class="count">630</td>' in page
    assert "http" not in page.replace("http-equiv", "")  # readable offline


def test_the_loss_of_a_trial_is_drawn_above_no_loss() -> None:
    """A point of more loss is higher, and one of a higher rate is further to the right."""
    (plot, *_) = load_page.plots(FIGURES)
    none, more = plot.place((41000, 0.0)), plot.place((63000, 25.0))

    assert more[0] > none[0]
    assert more[1] < none[1]


def test_without_trials_or_latencies_the_other_plots_are_drawn() -> None:
    """Live hosts with a low rate have fewer figures, and an earlier file has no trials."""
    few = copy.deepcopy(FIGURES)
    del few["throughput"][0]["trials"]
    few["latency"] = []

    assert [plot.title for plot in load_page.plots(few)] == ["Loss-free rate by number of receivers"]


def test_the_command_writes_the_page_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path of the page is printed."""
    (source := tmp_path / "now.json").write_text(json.dumps(FIGURES))

    assert main(["load", str(source)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/now.html\n"
    assert "41,000 datagrams/s" in (tmp_path / "now.html").read_text()


@pytest.mark.parametrize("text", [None, "", "[]", '{"throughput": []}', "3"])
def test_a_file_without_figures_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    """What is no such file is named, with the command that writes one; nothing is written."""
    source = tmp_path / "now.json"
    if text is not None:
        source.write_text(text)

    assert main(["load", str(source)]) == 2
    said = capsys.readouterr().err
    assert str(source) in said
    assert "fix: ./overcast load --json > load.json" in said
    assert not (tmp_path / "now.html").exists()
