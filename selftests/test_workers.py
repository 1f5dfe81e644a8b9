"""
Workers share the project's own tests: files side by side, and a file that is marked `alone` beside no other.

    this test <--socket-- each test of an inner run with two workers: it stays until it is answered
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from selftests import workers

ROOT = Path(__file__).resolve().parents[1]
STARTED_WITHIN = 60.0  # seconds; two in practice
AT_ONCE = 0.5  # seconds; a test that does not wait for the lock begins in a hundredth of that
INNER = """
import socket
import pytest

pytestmark = [{marks}]

@pytest.mark.parametrize("number", [1, 2, 3])
def test_stays(number):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect({address!r})
        connection.sendall(b"{name}")
        assert connection.recv(1)
"""
ALONE = 'pytest.mark.alone("why")'


class Running:
    """The tests that an inner run is in the middle of."""

    def __init__(self, address: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen()

    def next(self, within: float = STARTED_WITHIN) -> tuple[str, socket.socket] | None:
        """The next test that begins, if one does."""
        if not select.select([self._listener], [], [], within)[0]:
            return None
        connection = self._listener.accept()[0]
        return connection.recv(100).decode(), connection

    def began(self) -> tuple[str, socket.socket]:
        found = self.next()
        assert found is not None, "no test began"
        return found

    def close(self) -> None:
        self._listener.close()


def end(connection: socket.socket) -> None:
    """Lets a test end."""
    with connection:
        connection.sendall(b".")


def end_file(running: Running, file: str, connection: socket.socket) -> None:
    """Lets the first test of a file end, and the other two, which must be the next that begin."""
    for _ in range(2):
        end(connection)
        name, connection = running.began()
        assert name == file
    end(connection)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """An inner run of four files with two workers, interrupted if it has not ended."""
    address = tmp_path / "socket"
    for name, marks in {"a_alone": ALONE, "b_alone": ALONE, "c": "", "d": ""}.items():
        (tmp_path / f"test_{name}.py").write_text(INNER.format(marks=marks, address=str(address), name=name))
    command = [sys.executable, "-m", "pytest", "-p", "selftests.workers", "-p", "no:cacheprovider", "-n", "2"]
    made = Running(address)
    with (
        contextlib.closing(made),
        subprocess.Popen([*command, f"--rootdir={tmp_path}", "-c", "/dev/null", str(tmp_path)], cwd=ROOT) as process,
    ):
        yield made
        process.terminate()


def test_alone_begins_when_no_other_runs_and_nothing_begins_beside_it(running: Running) -> None:
    """Two files run side by side; each that is marked runs after them, all of its tests, beside no other."""
    first, second = running.began(), running.began()
    assert {first[0], second[0]} == {"c", "d"}

    end_file(running, *first)
    assert running.next(AT_ONCE) is None, "began beside another worker's test"

    end_file(running, *second)
    names = []
    for _ in range(6):
        name, connection = running.began()
        names.append(name)
        assert running.next(AT_ONCE) is None, "began beside a test that runs alone"
        end(connection)
    assert names in (["a_alone"] * 3 + ["b_alone"] * 3, ["b_alone"] * 3 + ["a_alone"] * 3)


def test_the_files_that_begin_first_exist() -> None:
    """Files that are listed as slow exist: a renamed file would lose its place."""
    assert [name for name in workers.LONG if not (workers.HERE / name).is_file()] == []
