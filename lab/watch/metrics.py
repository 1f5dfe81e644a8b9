"""The figures of a watch for Prometheus, by its own client library; imported only when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from lab.errors import EnvironmentProblem, UsageProblem
from lab.model import Finding
from lab.probes.deadlines import Flow
from lab.watch.exchange import Round

OPTION = "--metrics"
EXAMPLE = f"{OPTION}=127.0.0.1:9467"
BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
WAY = ("sender", "receiver", "kind")
FINDING = ("code", "host", "interface")


def parse(text: str) -> tuple[str, int]:
    """An address and a port; UsageProblem where the text is not both."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]]+):(\d{1,5})", text)
    if match is None or not 0 < int(match[2]) < 1 << 16:
        expected = f"a port from 1 to {(1 << 16) - 1}; found {match[2]}" if match else "ADDRESS:PORT"
        raise UsageProblem(f"{OPTION}={text}: expected {expected}\n  example: {EXAMPLE}")
    return match[1].strip("[]"), int(match[2])


class Metrics:
    """What Prometheus reads at an address: counters and latencies for each pair and kind, findings, connections."""

    def __init__(self, address: str, port: int) -> None:
        registry = CollectorRegistry()
        self._sent = Counter("overcast_sent", "Datagrams sent", WAY, registry=registry)
        self._lost = Counter("overcast_lost", "Datagrams that did not arrive", WAY, registry=registry)
        self._duplicated = Counter("overcast_duplicated", "Further copies that arrived", WAY, registry=registry)
        self._late = Counter("overcast_late", "Lost datagrams that arrived after all", WAY, registry=registry)
        self._latency = Histogram(
            "overcast_latency_seconds", "Time on the way", WAY, buckets=BUCKETS, registry=registry
        )
        self._finding = Gauge("overcast_finding", "A cause that is present", FINDING, registry=registry)
        self._connected = Gauge("overcast_host_connected", "Whether a host answers", ["host"], registry=registry)
        self._round = Gauge("overcast_round_timestamp_seconds", "When the last round ended", registry=registry)
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except OSError as error:
            raise EnvironmentProblem(
                f"{OPTION}={address}:{port}: {error.strerror or error}", remedy="name a free port of this machine"
            ) from None

    def note(self, made: Round) -> None:
        """Counts a round."""
        for way, outcome in made.outcomes.items():
            labels = _labels(way)
            self._sent.labels(*labels).inc()
            # a counter that appears with its first loss would have no rate
            self._lost.labels(*labels).inc(not outcome.copies)
            self._duplicated.labels(*labels).inc(max(0, outcome.copies - 1) + made.repeated[way])
            self._late.labels(*labels).inc(made.late[way])
            if outcome.latency is not None:
                self._latency.labels(*labels).observe(outcome.latency)
        self._round.set_to_current_time()

    def show(self, findings: Sequence[Finding]) -> None:
        """These causes are present, and no others."""
        self._finding.clear()
        for finding in findings:
            self._finding.labels(finding.code, finding.node, finding.interface).set(1)

    def connected(self, role: str, there: bool) -> None:
        """A host answers, or does not."""
        self._connected.labels(role).set(int(there))

    def close(self) -> None:
        """Serves nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _labels(way: Flow) -> tuple[str, str, str]:
    return way.sender, way.receiver, way.kind
