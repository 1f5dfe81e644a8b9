"""The matrix of faults: every one is injected in a run of its own, as many at a time as there are processors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lab.faults import catalogue
from lab.requirements import in_order, in_scope, scope
from selftests.faults import inner
from selftests.faults.inner import Ran

Runs = dict[str, Future[Ran]]
ROWS = pytest.StashKey[list[tuple[str, str, str]]]()
CONTROL = "healthy"


def pytest_configure(config: pytest.Config) -> None:
    """A new table."""
    config.stash[ROWS] = []


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs that the selected tests will ask for, by fault (or `healthy` and the kind of tunnel), on their way."""
    folder = tmp_path_factory.mktemp("matrix")
    wanted = [item.callspec.params for item in request.session.items if "runs" in getattr(item, "fixturenames", ())]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        started: Runs = {}
        for tunnel in [params["tunnel"] for params in wanted if "tunnel" in params]:  # the longest first
            key = f"{CONTROL} {tunnel}"
            started[key] = pool.submit(inner.run, folder / key, tunnel, reds_on(tunnel))
        for name in [params["fault"] for params in wanted if "fault" in params]:
            fault = catalogue.named(name)
            started[name] = pool.submit(
                inner.run,
                folder / name,
                inner.tunnel_for(fault),
                fault.reds,
                f"--inject={name}",
                "-p",
                "selftests.faults.enough",
            )
        yield started
        for one in started.values():
            one.cancel()


def all_reds() -> set[str]:
    """The requirements that some fault turns red."""
    return {red for fault in catalogue.known().values() for red in fault.reds}


def reds_on(tunnel: str) -> list[str]:
    """The requirements that some fault turns red on a kind of tunnel."""
    return sorted(
        {red for fault in catalogue.known().values() if inner.tunnel_for(fault) == tunnel for red in fault.reds}
    )


@pytest.fixture
def row(request: pytest.FixtureRequest) -> list[tuple[str, str, str]]:
    """The table, for one more row: fault, tunnel, reds."""
    return request.config.stash[ROWS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table: which fault turned what red, and what no fault does."""
    rows = sorted(config.stash.get(ROWS, []))
    if rows:
        terminalreporter.section("faults and what they turn red")
        for fault, tunnel, reds in rows:
            terminalreporter.line(f"  {fault:<26} {tunnel:<7} {reds}")
        every = in_scope(scope(applications=True))
        untouched = {one.id for one in every if one.level == "MUST"} - all_reds()
        terminalreporter.line(f"  MUST requirements without a fault: {', '.join(in_order(untouched)) or 'none'}")
