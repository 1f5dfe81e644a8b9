"""
How workers of pytest-xdist (`-n`) share the project's own tests: a file is one worker's, and some files run alone.

    worker 1   file, file, ...   ┐ each holds the lock, shared with the others
    worker 2   file, file, ...   ┘
    a worker   `alone` files     -- holds the lock by itself, once no worker shares it any more
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LOCK = pytest.StashKey[int]()
PATH = "selftests_lock"
ALONE = pytest.StashKey[frozenset[Path]]()

MOST = 4
"""Workers: the labs of many would fill the neighbour table that all network namespaces of a kernel share."""
LONG = (
    "live/persistence/test_boot.py",
    "live/provision/test_endings.py",
    "faults/runs/test_false_alarms.py",
    "faults/runs/test_one_cause.py",
    "live/layouts/test_shapes.py",
    "live/doctor/test_fixes.py",
    "live/layouts/test_two_hubs.py",
    "live/persistence/test_rehearsal.py",
    "lab/overlay/test_boot.py",
    "lab/runs/test_interrupts.py",
    "live/layouts/test_recognition.py",
    "faults/broken_labs/test_fixes.py",
    "live/test_guests.py",
    "live/measurements/test_watch.py",
    "live/persistence/test_firewalld.py",
    "live/layouts/test_overlays.py",
    "reports/html/test_page.py",
    "faults/runs/test_bundle.py",
    "live/doctor/test_prerequisites.py",
    "faults/broken_labs/test_exact_findings.py",
    "reports/test_files.py",
    "lab/runs/test_cleanup.py",
    "faults/broken_labs/test_two_hubs.py",
    "live/test_suite.py",
    "live/doctor/test_findings.py",
    "live/persistence/test_kept.py",
    "commands/test_options.py",
)
"""The files that take a minute or more, the longest first: begun last, one of them would be waited for at the end."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`, one more than there are processors, as many tests wait for an event; but few."""
    return min(len(os.sched_getaffinity(0)) + 1, MOST)


def pytest_configure(config: pytest.Config) -> None:
    """The tests of a file share what they set up, so files are distributed, in the order of the tests."""
    config.addinivalue_line("markers", "alone(why): its whole file runs while no other worker runs a test")
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False
    if hasattr(config, "workerinput"):
        config.stash[LOCK] = lock = os.open(config.workerinput[PATH], os.O_RDWR)
        config.add_cleanup(lambda: os.close(lock))  # the process waits for the other workers' end


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give every worker of this run the same lock: a file without a name, of which nothing can be left."""
    if LOCK not in node.config.stash:
        node.config.stash[LOCK] = os.memfd_create("alone")
    node.workerinput[PATH] = f"/proc/{os.getpid()}/fd/{node.config.stash[LOCK]}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the long files first, and last what runs alone: it begins when the other workers have nothing else to do."""
    alone = config.stash[ALONE] = frozenset(item.path for item in items if item.get_closest_marker("alone"))
    order = {HERE / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: (item.path in alone, order.get(item.path, len(LONG))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Wait for the lock, and keep it: it ends with the worker, or when a test needs the other kind."""
    if LOCK in item.config.stash:
        kind = fcntl.LOCK_EX if item.path in item.config.stash[ALONE] else fcntl.LOCK_SH
        fcntl.flock(item.config.stash[LOCK], kind)
    return (yield)
