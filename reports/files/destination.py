"""
Where results go: `reports/` of the checkout, or the folder of `--reports`.

Only a run of conformance tests has results.  The files of pytest and of allure-pytest are switched on by their own
options; what is done here is to give these a value early.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reports.files.ownership import write_whole
from reports.html import captures

ALLURE_FILE = re.compile(
    r"[0-9a-f-]{36}-(result|container|attachment|globals)\b.*"
    r"|environment\.properties|categories\.json|executor\.json"
)

# Options that make pytest show something instead of running tests.
LOOKING = ("collectonly", "help", "version", "markers", "showfixtures", "show_fixtures_per_test", "setupplan")

ALLURE_FOLDER = "allure-results"
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Destination:
    """
    The folder of a run's results, and the first error that writing there met.

    A full disk costs the least important files: Allure's results make room for junit.xml, that for ours.
    """

    directory: Path
    error: OSError | None = None
    created: list[Path] = field(default_factory=list)
    takes_files: bool = False
    missing: list[str] = field(default_factory=list)
    """What of the results could not be written, or not in full."""
    allure: Path | None = None
    """The folder of Allure's results, unless the user has named one."""
    earlier: dict[Path, int] = field(default_factory=dict)
    """The files of an earlier run, with the time of their last change: workers may write files of the same names."""
    begun: bool = False
    """Whether this run has results, which replace those of an earlier one."""

    def __post_init__(self) -> None:
        self.conformance = self.directory / "conformance.json"  # for programs
        self.page = self.directory / "index.html"  # for people
        self.summary = self.directory / "summary.md"  # for continuous integration, as junit.xml
        self.junit = self.directory / "junit.xml"
        self.diagnosis = self.directory / "diagnosis.jsonl.gz"  # what a failure was diagnosed from (`overcast bundle`)
        self.captures = self.directory / captures.FOLDER  # the frames of failed tests
        self.ours = [self.conformance, self.page, self.summary, self.junit, self.diagnosis]  # most important first

    def open(self) -> None:
        """Make the folder and prove that it takes a file; on a full disk, what earlier runs have left makes room."""
        missing = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        with self.noting_errors():
            self.directory.mkdir(parents=True, exist_ok=True)
            self.created += missing[-1:]
            try:
                self._probe()
            except OSError as error:
                if error.errno not in FULL:
                    raise
                clear_allure(self.directory / ALLURE_FOLDER)
                self._remove_older(self.conformance)
                self._probe()
            self.takes_files = True

    def _probe(self) -> None:
        with tempfile.TemporaryFile(dir=self.directory) as probe:
            probe.write(b"x")

    @contextlib.contextmanager
    def noting_errors(self) -> Generator[None]:
        """Keep the first error of the file system instead of raising it."""
        try:
            yield
        except OSError as error:
            self.note(error)

    def note(self, error: OSError) -> None:
        """Keep an error unless an earlier one is known: the first is the cause, the others follow from it."""
        self.error = self.error or error

    def note_earlier(self) -> None:
        """Remember the files of an earlier run: they stay if this one ends before its first test."""
        allure = allure_files(self.allure) if self.allure else ()
        with self.noting_errors():
            for path in (*self.ours, *captures.files(self.captures), *allure):
                if os.path.lexists(path):
                    self.earlier[path] = path.lstat().st_mtime_ns

    def begin(self) -> None:
        """Remove what an earlier run has written, so that nothing of it is beside the results of this one."""
        self.begun = True
        with self.noting_errors():
            for path, changed in self.earlier.items():
                if os.path.lexists(path) and path.lstat().st_mtime_ns == changed:
                    path.unlink()
            captures.remove_empty(self.captures)
        self.earlier.clear()

    def leave_earlier(self) -> None:
        """Remove what Allure has of a test whose setup ended this run."""
        with self.noting_errors():
            for path in allure_files(self.allure) if self.allure else ():
                if path not in self.earlier:
                    path.unlink()

    def write(self, path: Path, content: str | bytes) -> None:
        """Write a file of ours, complete or not at all."""
        self.secure(path, lambda: write_whole(path, content))

    def secure(self, path: Path, write: Callable[[], None]) -> None:
        """Write a file; on a full disk again, once what is less important has made room. No file of before stays."""
        for attempt in range(3):
            try:
                if attempt == 1:
                    self._drop_allure_beside(path)
                elif attempt:
                    self._remove_older(path)
                write()
                return
            except OSError as error:
                self.note(error)
                if error.errno not in FULL:
                    break
        self.missing.append(path.name)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def _remove_older(self, path: Path) -> None:
        """Remove what earlier runs have left of a file, and of those of ours that are written after it."""
        for each in self.ours[self.ours.index(path) :] if path in self.ours else [path]:
            each.unlink(missing_ok=True)

    def note_allure(self, error: OSError) -> None:
        """Note that a result of Allure could not be written: a part of them would pass for all."""
        self.note(error)
        self.drop_allure()

    def kept(self) -> set[str]:
        """Return the names of the files of frames that this run has kept."""
        return {path.name for path in self.captures.glob("*.pcapng")}

    def drop_allure(self) -> None:
        """Give up Allure's results, and remove those that are in our own folder."""
        if ALLURE_FOLDER not in self.missing:
            self.missing.append(ALLURE_FOLDER)
        with contextlib.suppress(OSError):
            captures.clear(self.captures)  # which make room as well
        if self.allure is not None:
            with contextlib.suppress(OSError):
                clear_allure(self.allure)

    def _drop_allure_beside(self, path: Path) -> None:
        if self.allure is not None and self.allure.stat().st_dev == path.parent.stat().st_dev:
            self.drop_allure()

    def page_from(self, folder: Path) -> str:
        """Return the page's path as short as a reader in this folder can use it."""
        return str(self.page.relative_to(folder) if self.page.is_relative_to(folder) else self.page)


def only_looks(config: pytest.Config) -> bool:
    """Tell whether this call of pytest runs no tests at all."""
    return any(getattr(config.option, name, False) for name in LOOKING)


def covers(config: pytest.Config) -> tuple[bool, bool]:
    """Tell whether the paths given reach into the conformance tests, and whether they take in all of them."""
    suite = config.rootpath / "tests"
    paths = [Path(config.invocation_params.dir, argument.partition("::")[0]).resolve() for argument in config.args]
    whole = any(suite.is_relative_to(path) for path in paths)
    return whole or any(path.is_relative_to(suite) for path in paths), whole


def switch_on(config: pytest.Config, destination: Destination) -> None:
    """Ask pytest for junit.xml and allure-pytest for its results, unless the user has named other places."""
    if getattr(config.option, "xmlpath", "") is None:
        config.option.xmlpath = str(destination.junit)
    if getattr(config.option, "allure_report_dir", "") is None:
        destination.allure = destination.directory / ALLURE_FOLDER
        config.option.allure_report_dir = str(destination.allure)


def allure_files(results: Path) -> list[Path]:
    """Return the files of Allure's runs in its folder, and no others."""
    paths = results.iterdir() if results.is_dir() else ()
    return [path for path in paths if ALLURE_FILE.fullmatch(path.name.removesuffix(".tmp"))]


def clear_allure(results: Path) -> None:
    """Remove them."""
    for path in allure_files(results):
        path.unlink()


def written(config: pytest.Config, destination: Destination) -> list[Path]:
    """Return everything that a user who called sudo should own, the caches of Python and pytest included."""
    root = config.rootpath
    options = [getattr(config.option, name, None) for name in ("xmlpath", "allure_report_dir")]
    own = [*destination.ours, destination.captures, *destination.created]
    caches = [root / "__pycache__"]
    if config.pluginmanager.has_plugin("cacheprovider"):  # which a user may switch off
        caches.append(root / config.getini("cache_dir"))
    for folder in ("lab", "fixtures", "reports", "tests", "selftests"):
        caches += (root / folder).rglob("__pycache__")
    return [*own, *(Path(option) for option in options if option), *caches]
