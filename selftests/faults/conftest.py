"""The matrix of faults: every one is injected in a run of its own, some at a time (`pool`)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from lab.faults import catalogue
from lab.requirements import in_order, in_scope, scope
from selftests.faults import inner
from selftests.faults.inner import Ran
from selftests.faults.pool import pool

Runs = dict[str, Future[Ran]]
ROWS = pytest.StashKey[dict[str, dict[str, str]]]()
CONTROL = "healthy"


def pytest_configure(config: pytest.Config) -> None:
    """A new table."""
    config.stash[ROWS] = {}


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs that the selected tests will ask for, by fault (or `healthy` and the kind of tunnel), on their way."""
    folder = tmp_path_factory.mktemp("matrix")
    wanted = [item.callspec.params for item in request.session.items if "runs" in getattr(item, "fixturenames", ())]
    with pool() as workers:
        started: Runs = {}
        for tunnel in dict.fromkeys(params["tunnel"] for params in wanted if "tunnel" in params):  # the longest first
            key = f"{CONTROL} {tunnel}"
            healthy = functools.partial(inner.run, reports=folder / key, tunnel=tunnel, requirements=reds_on(tunnel))
            started[key] = workers.submit(healthy)
        for name in dict.fromkeys(params["fault"] for params in wanted if "fault" in params):
            broken = functools.partial(inner.broken, reports=folder / name, fault=catalogue.named(name))
            started[name] = workers.submit(broken)
        yield started


def all_reds() -> set[str]:
    """The requirements that some fault turns red."""
    return {red for fault in catalogue.known().values() for red in fault.reds}


def reds_on(tunnel: str) -> list[str]:
    """The requirements that some fault turns red on a kind of tunnel."""
    return sorted(
        {red for fault in catalogue.known().values() if inner.tunnel_for(fault) == tunnel for red in fault.reds}
    )


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Notes one cell of the table: `row(fault, "found", "yes")`."""
    rows = request.config.stash[ROWS]
    return lambda fault, column, said: rows.setdefault(fault, {}).update({column: said})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table: which fault was caught, named, located and mended, and what no fault turns red."""
    rows = config.stash.get(ROWS, {})
    if rows:
        terminalreporter.section("faults: what they turn red, what is found, whether the remedy mends")
        for fault, cells in sorted(rows.items()):
            tunnel = inner.tunnel_for(catalogue.named(fault))
            found, mended, caught = (cells.get(column, "") for column in ("found", "mended", "caught"))
            terminalreporter.line(f"  {fault:<26} {tunnel:<9} {found:<52} {mended:<18} {caught}")
        for column in ("caught", "found", "mended"):
            said = [cells[column] for cells in rows.values() if column in cells]
            good = [one for one in said if not one.startswith("NOT")]
            terminalreporter.line(f"  {column}: {len(good)} of {len(said)}")
        every = in_scope(scope(applications=True))
        untouched = {one.id for one in every if one.level == "MUST"} - all_reds()
        terminalreporter.line(f"  MUST requirements without a fault: {', '.join(in_order(untouched)) or 'none'}")
