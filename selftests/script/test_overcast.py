"""
The entry script: it sets up once, then gets out of the way; and every refusal is one line.

    overcast -> .venv (made from the lock, stamped last) -> python -m pytest | python -m lab

The script under test is the real one, in a checkout made for the test: its lock holds one wheel, a `pytest` that prints
how it was called.  No network is used, and the packages of this machine are left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from selftests.script.conftest import IS_ROOT, NOBODY, PYTHON, ROOT, SETTING_UP, Checkout, Outcome


class TestCommands:
    """What leads where."""

    def test_unknown_word_is_refused_with_the_list(self, fresh: Checkout) -> None:
        """An unknown command ends with status 2 and one line that lists the commands, and nothing is set up."""
        refused = fresh.run("bnech")
        assert refused.status == 2
        assert len(refused.said) == 1
        assert "'bnech'" in refused.said[0]
        assert "bench" in refused.said[0]
        assert not fresh.stamp.parent.exists()

    @pytest.mark.parametrize("word", ["help", "--help", "-h"])
    def test_help_sets_nothing_up(self, fresh: Checkout, word: str) -> None:
        """The usage names every command, at no cost."""
        shown = fresh.run(word)
        assert shown.status == 0
        assert all(
            f"overcast {command}" in shown.out
            for command in (
                *("own", "test", "load", "plan", "bench", "up", "exec", "down"),
                *("doctor", "watch", "bundle", "allure"),
            )
        )
        assert not fresh.stamp.parent.exists()

    @pytest.mark.parametrize("word", ["--version", "-V"])
    def test_version_is_that_of_the_project(self, fresh: Checkout, word: str) -> None:
        """The version is the one of pyproject.toml; pytest's follows where it is installed, and nothing is set up."""
        shutil.copy(ROOT / "pyproject.toml", fresh.path)
        (stated,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

        assert fresh.run(word).out == f"overcast {stated}\n"
        assert not fresh.stamp.parent.exists()

    def test_version_of_pytest_follows(self, ready: Checkout) -> None:
        """In a checkout that is set up, pytest adds its version."""
        shutil.copy(ROOT / "pyproject.toml", ready.path)

        ours, pytests = ready.run("--version").out.splitlines()

        assert ours.startswith("overcast ")
        assert pytests == f"pytest ['--version'] in {ready.path}"

    def test_options_reach_pytest_as_they_are(self, ready: Checkout) -> None:
        """Without a command, the arguments are pytest's, spaces included; pytest runs at the root of the checkout."""
        assert ready.run("-k", "a or  b").out == f"pytest ['-k', 'a or  b'] in {ready.path}\n"

    @pytest.mark.parametrize(
        ("processors", "given", "workers"),
        [
            (2, (), ("-n", "2")),
            (16, ("--tunnel=vxlan", "-q", "--spokes=5"), ("-n", "4")),
            (1, (), ()),
            (2, ("-n", "0"), ()),
            (2, ("-k", "broadcast"), ()),
            (2, ("--hosts=a,b",), ()),
            (2, ("--spokes=40",), ()),
        ],
        ids=str,
    )
    def test_a_whole_run_uses_the_processors(
        self, ready: Checkout, processors: int, given: tuple[str, ...], workers: tuple[str, ...]
    ) -> None:
        """A run of all tests in a lab has a worker for each processor, four at most; any other run has one process."""
        ran = ready.run(*given, OMP_NUM_THREADS=str(processors))

        assert ran.out == f"pytest {[*workers, *given]} in {ready.path}\n"

    @pytest.mark.parametrize("command", [(), ("test",)], ids=str)
    def test_signals_wait_until_pytest_notes_them(self, ready: Checkout, command: tuple[str, ...]) -> None:
        """Python starts with SIGINT and SIGTERM blocked: they would end it with a traceback."""
        lines = ready.run(*command, SHOWS_SIGNALS="1").out.splitlines()
        assert [line for line in lines if "blocked" in line] == ["blocked: SIGINT SIGTERM"] * (len(lines) // 2)

    @pytest.mark.parametrize("command", ["load", "plan", "bench", "up", "exec", "down", "doctor", "watch"])
    def test_commands_lead_to_the_library(self, ready: Checkout, command: str) -> None:
        """The other commands are the library's own command line, arguments untouched."""
        ran = ready.run(command, "hub", "--", "ip  a")
        assert ran.out == f"lab {[command, 'hub', '--', 'ip  a']} in {ready.path}\n"
        assert ran.said == []

    def test_own_tests_are_found_from_where_the_user_is(self, ready: Checkout, tmp_path: Path) -> None:
        """A folder of tests is one of the user's, and its tests have the plugins of the checkout."""
        (tmp_path / "mine").mkdir()
        ran = ready.run("own", "mine", "-k", "a or  b", program=ready.path / "overcast", cwd=tmp_path)
        given = ["-c", "pytest.ini", "--rootdir", ".", "-p", "conftest", str(tmp_path / "mine"), "-k", "a or  b"]
        assert ran.out == f"pytest {given} in {ready.path}\n"

    @pytest.mark.parametrize(("given", "said"), [((), "own needs a folder"), (("nowhere",), "nowhere is no folder")])
    def test_own_tests_that_are_nowhere_are_refused(self, ready: Checkout, given: tuple[str, ...], said: str) -> None:
        """Without a folder of tests there is nothing to run."""
        refused = ready.run("own", *given)
        assert refused.status == 2
        assert refused.said[-1].startswith(f"overcast: {said}")

    @pytest.mark.parametrize(
        ("own", "suite", "status"), [("0", "0", 0), ("1", "0", 1), ("0", "5", 5), ("1", "5", 1)], ids=str
    )
    def test_test_runs_both_suites_whatever_fails(self, ready: Checkout, own: str, suite: str, status: int) -> None:
        """The project's own tests run first, by workers, then the suite; the status is that of the first that fails."""
        ran = ready.run("test", "-k", "a or  b", FAILS_ON_SELFTESTS=own, FAILS_ON_APPLICATIONS=suite)
        assert re.findall(r"pytest (\[.*?\])", ran.out) == [
            "['selftests', '-n', 'auto', '-k', 'a or  b']",
            "['--applications', '-k', 'a or  b']",
        ]
        assert ran.status == status
        one, other = ("passed" if number == "0" else f"not passed (status {number})" for number in (own, suite))
        assert ran.said[-1] == f"overcast: the project's own tests: {one}; the conformance suite: {other}"

    def test_test_compiles_each_module_once(self, ready: Checkout) -> None:
        """The modules that the tests' many processes import are cached, even where the environment forbids it."""
        lines = ready.run("test", PYTHONDONTWRITEBYTECODE="1", SHOWS_CACHES="1").out.splitlines()
        assert [line for line in lines if "byte code" in line] == ["writes byte code: True"] * 2

    def test_works_through_a_symlink_from_anywhere(self, ready: Checkout, tmp_path: Path) -> None:
        """The checkout is found from where the script really is."""
        link = tmp_path / "oc"
        link.symlink_to(ready.path / "overcast")
        assert ready.run("-q", program=link, cwd=tmp_path).out == f"pytest ['-q'] in {ready.path}\n"


class TestSetUp:
    """Which files are created, for which user, and when they are created again."""

    def test_second_run_adds_next_to_nothing(self, ready: Checkout) -> None:
        """A run that finds everything in place prints nothing and costs less than 0.3 s, Python's start included."""
        times = []
        for _ in range(3):
            began = time.monotonic()
            again = ready.run("doctor")
            times.append(time.monotonic() - began)
            assert again.said == []
        assert min(times) < 0.3, f"seconds: {times}"

    def test_interpreter_is_a_real_binary(self, ready: Checkout) -> None:
        """The virtual environment's Python leads to a program, no shim: the guest kernel starts it as its init."""
        interpreter = (ready.path / ".venv" / "bin" / "python").resolve()
        assert interpreter.read_bytes()[:4] == b"\x7fELF"

    @pytest.mark.skipif(not IS_ROOT, reason="needs root, to be under sudo: sudo ./overcast test")
    def test_under_sudo_everything_belongs_to_the_invoking_user(self, ready: Checkout) -> None:
        """The environment is the user's, while the system's Python that it links to stays root's."""
        made = [ready.path / ".venv", *(ready.path / ".venv").rglob("*"), ready.path / "lab" / "__pycache__"]
        assert {(path.lstat().st_uid, path.lstat().st_gid) for path in made} == {(1234, 1235)}
        assert Path(PYTHON).stat().st_uid != 1234

    def test_broken_lock_is_named_and_fixed_by_two_at_once(self, fresh: Checkout) -> None:
        """A wrong hash ends with pip's error and no usable environment; then of two runs one sets up, and both run."""
        wheel = next((fresh.path / "wheels").iterdir())
        fresh.pin(wheel, digest="0" * 64)
        refused = fresh.run()
        assert refused.status == 3
        assert refused.out == ""
        assert "requirements.lock" in refused.said[-1]
        assert "DO NOT MATCH THE HASHES" in refused.said[-1]
        assert not fresh.stamp.exists()

        fresh.pin(wheel)
        both = [Outcome(process) for process in [fresh.start("-q"), fresh.start("-q")]]
        assert [(run.status, run.out) for run in both] == [(0, f"pytest ['-q'] in {fresh.path}\n")] * 2
        assert sum(line.startswith(SETTING_UP) for run in both for line in run.said) == 1, [run.said for run in both]

    def test_interrupted_set_up_never_looks_complete(self, fresh: Checkout) -> None:
        """Ctrl-C in the middle is reported in one line, and leaves nothing that a later run would trust."""
        process = fresh.start(SUDO_UID="1234") if IS_ROOT else fresh.start()
        deadline = time.monotonic() + 20
        while not (fresh.path / ".venv" / "pyvenv.cfg").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        ended = Outcome(process)
        assert ended.status == 130
        assert "interrupted" in ended.said[-1]
        assert not fresh.stamp.exists()
        assert not IS_ROOT or (fresh.path / ".venv").stat().st_uid == 1234


@pytest.fixture
def nobodys() -> Iterator[Checkout]:
    """A checkout of the user `nobody`, where that user can reach it."""
    with tempfile.TemporaryDirectory(prefix="overcast-unprivileged-") as folder:
        Path(folder).chmod(0o755)
        checkout = Checkout(Path(folder) / "checkout")
        for path in [checkout.path, *checkout.path.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        yield checkout


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to hide iptables and become `nobody`: sudo ./overcast test")
def test_without_root_it_names_what_is_missing_and_continues(nobodys: Checkout, tmp_path: Path) -> None:
    """An unprivileged user gets one line with the command that installs the package, and then the suite runs."""
    unprivileged = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if subprocess.run(
        [*unprivileged, "/usr/bin/python3", "-c", "from ensurepip import bootstrap"], check=False
    ).returncode:
        pytest.skip("needs a Python that `nobody` can run, with ensurepip: apt-get install python3-venv")
    hide = "[ ! -e /usr/sbin/iptables ] || mount --bind /dev/null /usr/sbin/iptables"
    program = tmp_path / "unprivileged"
    program.write_text(f'#!/bin/sh\nexec unshare --mount sh -c \'{hide}; exec "$@"\' - {" ".join(unprivileged)} "$@"\n')
    program.chmod(0o755)

    process = nobodys.start(
        str(nobodys.path / "overcast"), program=program,
        PATH="/usr/bin:/bin", OVERCAST_PYTHON="/usr/bin/python3", OVERCAST_APT="",
    )  # fmt: skip
    out, errors = process.communicate(timeout=60)

    assert (process.returncode, out) == (0, f"pytest [] in {nobodys.path}\n"), errors
    lines = [line for line in errors.splitlines() if "iptables" in line]
    assert len(lines) == 1
    assert "without root" in lines[0] or not shutil.which("apt-get")
    assert "Traceback" not in errors


VERBS = ("install", "mask", "unmask", "disable")
NOTES_ITS_CALLS = """#!/bin/sh
echo "${0##*/}" "$@" >>"$NOTES"
"""
HIDING = """#!/bin/sh
exec unshare --mount sh -c '
    mount -t tmpfs none /run && mkdir -p /run/systemd/system
    [ ! -e /usr/sbin/avahi-daemon ] || mount --bind /dev/null /usr/sbin/avahi-daemon
    exec "$@"' - '{script}' "$@"
"""


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to hide programs and look like systemd: sudo ./overcast test")
def test_applications_are_installed_without_their_services(ready: Checkout, tmp_path: Path) -> None:
    """With --applications missing programs are installed, and their services are not started."""
    for name in ("apt-get", "systemctl"):
        (tmp_path / name).write_text(NOTES_ITS_CALLS)
        (tmp_path / name).chmod(0o755)
    program = tmp_path / "apart"
    program.write_text(HIDING.format(script=ready.path / "overcast"))
    program.chmod(0o755)

    ran = ready.run(
        "--applications", program=program, OVERCAST_APT="", NOTES=str(tmp_path / "notes"),
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )  # fmt: skip

    assert ran.out == f"pytest ['--applications'] in {ready.path}\n"
    notes = (tmp_path / "notes").read_text().splitlines()
    done = [verb for line in notes if "avahi" in line for verb in line.split() if verb in VERBS]
    assert done == ["mask", "mask", "install", "unmask", "unmask", "disable", "disable"]
