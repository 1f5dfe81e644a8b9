"""
A watch read by Prometheus itself: its figures, and the alerts on them.

    hosts <-- watch --metrics=127.0.0.1:... <-- prometheus, with docs/watch/alerts.yml <-- queries
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.machines.base import ROOT
from lab.probes.deadlines import Flow
from lab.watch.exchange import Reception, Round
from lab.watch.metrics import Metrics
from selftests.live.conftest import on_this_kernel
from selftests.live.measurements.test_watch import ATTACH, DETACH, broken, watching
from selftests.live.rig import Rig

FILES = ROOT / "docs/watch"
PATIENCE = 60.0  # seconds
GET_IT = "there is no Prometheus: apt-get install --no-install-recommends prometheus"

pytestmark = pytest.mark.skipif(not shutil.which("prometheus") or not shutil.which("promtool"), reason=GET_IT)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


class Prometheus:
    """A server that reads one address every second, with the alerts of the documentation."""

    def __init__(self, directory: Path, target: int) -> None:
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(FILES / "alerts.yml")],
            "scrape_configs": [{"job_name": "overcast", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
        }
        (directory / "prometheus.yml").write_text(json.dumps(config))  # which is YAML
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of a query; nothing while the server starts."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            return list(json.loads(get(url))["data"]["result"])
        except (urllib.error.URLError, ConnectionError):
            return []

    def until(self, expression: str, *, empty: bool = False) -> list[dict[str, Any]]:
        """The result of a query once there is one, or none any more."""
        deadline, pause = time.monotonic() + PATIENCE, threading.Event()
        while bool(found := self.query(expression)) is empty:
            assert time.monotonic() < deadline, f"{expression} has {found or 'no result'} after {PATIENCE:g} s"
            pause.wait(0.1)  # it is asked what it has read; nothing announces that
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Hosts that may be broken."""
    (tmp_path / "rig").mkdir()
    with on_this_kernel(tmp_path / "rig") as made:
        yield made


def test_prometheus_reads_what_is_wrong(rig: Rig, tmp_path: Path) -> None:
    """A query shows the fault by its code and host, an alert fires for it, and both end with it."""
    port = free_port()
    with watching(rig, f"--metrics=127.0.0.1:{port}"):
        server = Prometheus(tmp_path, port)
        try:
            connected = server.until('overcast_host_connected{host="hub"} == 1')
            assert connected
            with broken(rig, "hub", DETACH, ATTACH):
                finding = server.until('overcast_finding{code="port-not-bridged"} == 1')
                lost = server.until("overcast_lost_total > 0")
                alert = server.until('ALERTS{alertname="OvercastCause", alertstate="firing"}')
            server.until('overcast_finding{code="port-not-bridged"} == 1', empty=True)
            server.until('ALERTS{alertname="OvercastCause"}', empty=True)
            latency = server.until("histogram_quantile(0.5, rate(overcast_latency_seconds_bucket[1m])) > 0")
        finally:
            server.process.terminate()
            server.process.wait(PATIENCE)

    assert finding[0]["metric"]["host"] == alert[0]["metric"]["host"] == "hub"
    assert all("spoke2" in (each["metric"]["sender"], each["metric"]["receiver"]) for each in lost)
    assert {each["metric"]["kind"] for each in lost} == {"unicast", "broadcast", "multicast"}
    assert all(0 < float(each["value"][1]) < 0.1 for each in latency if each["value"][1] != "NaN")


@pytest.mark.parametrize("words", [("rules", "alerts.yml"), ("config", "prometheus.yml")])
def test_promtool_accepts_the_files(words: tuple[str, str]) -> None:
    """The files of the documentation are what Prometheus takes."""
    what, name = words
    done = subprocess.run(["promtool", "check", what, str(FILES / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def served() -> str:
    """What a watch serves after a round."""
    port = free_port()
    metrics = Metrics("127.0.0.1", port)
    try:
        way = Flow("overlay", "unicast", "hub", "spoke1")
        metrics.note(Round({way: Reception(copies=1, latency=0.001)}))
        metrics.connected("hub", True)
        return get(f"http://127.0.0.1:{port}/metrics")
    finally:
        metrics.close()


def test_promtool_accepts_the_figures() -> None:
    """Their names and types follow Prometheus' rules."""
    done = subprocess.run(["promtool", "check", "metrics"], input=served(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_alerts_and_dashboard_know_the_figures(name: str) -> None:
    """Every figure that they use is one that a watch serves."""
    used = set(re.findall(r"\bovercast_[a-z_]+\b", (FILES / name).read_text(encoding="utf-8")))
    text = served()
    assert {"overcast_lost_total", "overcast_finding"} <= used
    assert [figure for figure in sorted(used) if not re.search(rf"^(# TYPE )?{figure}[ {{]", text, re.MULTILINE)] == []
