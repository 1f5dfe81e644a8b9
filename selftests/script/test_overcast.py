"""
The entry script: it sets up once, then gets out of the way; and every refusal is one line.

    overcast -> .venv (made from the lock, stamped last) -> python -m pytest | python -m lab

The script under test is the real one, in a checkout made for the test: its lock holds one wheel, a `pytest` that tells
how it was called.  No network is used, and the packages of this machine are left alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.path.realpath(sys.executable)
SETTING_UP = "overcast: setting up .venv"
NOBODY = 65534
IS_ROOT = os.geteuid() == 0

TELLS_HOW_IT_WAS_CALLED = """
import os, sys
print("pytest", sys.argv[1:], "in", os.getcwd())
sys.exit(int(os.environ.get("FAILS_ON_" + (sys.argv + [""])[1].strip("-").upper(), 0)))
"""


class Checkout:
    """A folder with the real script and what little it needs around it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "lab").mkdir(parents=True)
        (path / "lab" / "__main__.py").write_text("import os, sys\nprint('lab', sys.argv[1:], 'in', os.getcwd())\n")
        shutil.copy(ROOT / "overcast", path)
        self.lock = path / "requirements.lock"
        self.pin(write_wheel(path))

    def pin(self, wheel: Path, digest: str | None = None) -> None:
        """Write the lock, by default with the hash that the wheel has."""
        digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
        self.lock.write_text(f"--no-index\n--find-links {wheel.parent.as_uri()}\npytest==0 --hash=sha256:{digest}\n")

    @property
    def stamp(self) -> Path:
        """What a set-up that was finished leaves."""
        return self.path / ".venv" / "overcast-stamp"

    def start(
        self, *args: str, program: Path | None = None, cwd: Path | None = None, **env: str
    ) -> subprocess.Popen[str]:
        """Start the script away from the machine's own pip settings, as the leader of its process group."""
        return subprocess.Popen(
            [program or self.path / "overcast", *args],
            cwd=cwd or "/",
            env={"PATH": os.environ["PATH"], "OVERCAST_APT": "no", "OVERCAST_PYTHON": PYTHON,
                 "PIP_CONFIG_FILE": os.devnull, **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *args: str, program: Path | None = None, cwd: Path | None = None, **env: str) -> Outcome:
        """Run the script to its end."""
        return Outcome(self.start(*args, program=program, cwd=cwd, **env))


class Outcome:
    """How a run of the script ended; what it says about this machine's packages is not its subject here."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.out, errors = process.communicate(timeout=60)
        self.status = process.returncode
        self.said = [line for line in errors.splitlines() if "not installed" not in line]


def write_wheel(folder: Path) -> Path:
    """Write a wheel whose module `pytest` prints its arguments; offline, and as good as any to pip."""
    files = {
        "pytest.py": TELLS_HOW_IT_WAS_CALLED,
        "pytest-0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pytest\nVersion: 0\n",
        "pytest-0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    wheel = folder / "wheels" / "pytest-0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, "pytest-0.dist-info/RECORD": record + "pytest-0.dist-info/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture
def fresh(tmp_path: Path) -> Checkout:
    """A checkout in which nothing was set up."""
    return Checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout that was set up by a first run, in a path with spaces, under sudo when this is root."""
    checkout = Checkout(tmp_path_factory.mktemp("set up") / "a checkout")
    first = checkout.run("-q", **({"SUDO_UID": "1234", "SUDO_GID": "1235"} if IS_ROOT else {}))
    assert first.status == 0, first.said
    assert len(first.said) == 1, first.said
    assert first.said[0].startswith(SETTING_UP)
    return checkout


class TestCommands:
    """What leads where."""

    def test_unknown_word_is_refused_with_the_list(self, fresh: Checkout) -> None:
        """A word that is no command ends with status 2 and one line that lists them, and nothing is set up."""
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
        assert all(f"overcast {command}" in shown.out for command in ["test", "bench", "up", "exec", "down", "doctor"])
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
        """Without a command, the arguments are pytest's, spaces included, and it runs at the root of the checkout."""
        assert ready.run("-k", "a or  b").out == f"pytest ['-k', 'a or  b'] in {ready.path}\n"

    @pytest.mark.parametrize("command", ["bench", "up", "exec", "down", "doctor"])
    def test_commands_lead_to_the_library(self, ready: Checkout, command: str) -> None:
        """The other commands are the library's own command line, arguments untouched."""
        ran = ready.run(command, "hub", "--", "ip  a")
        assert ran.out == f"lab {[command, 'hub', '--', 'ip  a']} in {ready.path}\n"
        assert ran.said == []

    @pytest.mark.parametrize(
        ("env", "status"), [({}, 0), ({"FAILS_ON_SELFTESTS": "1"}, 1), ({"FAILS_ON_APPLICATIONS": "5"}, 5)], ids=str
    )
    def test_test_runs_both_suites_whatever_fails(self, ready: Checkout, env: dict[str, str], status: int) -> None:
        """The project's own tests run first, the whole conformance suite last, and a failure of either is kept."""
        ran = ready.run("test", **env)
        assert re.findall(r"pytest (\[.*?\])", ran.out) == ["['selftests']", "['--applications']"]
        assert ran.status == status

    def test_works_through_a_symlink_from_anywhere(self, ready: Checkout, tmp_path: Path) -> None:
        """The checkout is found from where the script really is."""
        link = tmp_path / "oc"
        link.symlink_to(ready.path / "overcast")
        assert ready.run("-q", program=link, cwd=tmp_path).out == f"pytest ['-q'] in {ready.path}\n"


class TestSetUp:
    """What is made, for whom, and when it is made again."""

    def test_second_run_adds_next_to_nothing(self, ready: Checkout) -> None:
        """A run that finds everything in place says nothing and costs less than 0.3 s, Python's start included."""
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

    def test_broken_lock_is_named_and_mended_by_two_at_once(self, fresh: Checkout) -> None:
        """A wrong hash ends with pip's word and no usable environment; then of two runs one sets up, and both run."""
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


class TestRefusals:
    """What cannot be done is said in one line, with the remedy."""

    def test_missing_python(self, fresh: Checkout) -> None:
        """Without an interpreter the message says which is needed and how to name one."""
        refused = fresh.run(OVERCAST_PYTHON="/nowhere/python3")
        assert refused.status == 3
        assert re.search(r"3\.10 or newer.*'/nowhere/python3'.*OVERCAST_PYTHON=", "\n".join(refused.said))

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ("echo 3.9 yes /usr/bin/python3.9", "is Python 3.9"),
            ("exit 1", "does not run as a Python 3"),
            ("echo 3.99 no /usr/bin/python3.99", "no ensurepip; Debian's python3.99-venv has"),
        ],
    )
    def test_unfit_python(self, fresh: Checkout, tmp_path: Path, answer: str, message: str) -> None:
        """An interpreter that is too old, broken or incomplete is named with what it lacks."""
        interpreter = tmp_path / "python3"
        interpreter.write_text(f"#!/bin/sh\n{answer}\n")
        interpreter.chmod(0o755)
        refused = fresh.run(OVERCAST_PYTHON=str(interpreter))
        assert refused.status == 3
        assert message in refused.said[-1]
        assert not fresh.stamp.parent.exists()

    @pytest.mark.parametrize("program", ["/bin/true", "/bin/echo"])
    def test_a_program_that_is_no_python(self, fresh: Checkout, program: str) -> None:
        """A program that takes any argument and ends with 0 is not a Python: nothing is installed for it."""
        refused = fresh.run(OVERCAST_PYTHON=program, OVERCAST_APT="")
        assert refused.status == 3
        assert refused.said == [
            (
                f"overcast: Python 3.10 or newer is needed, but '{program}' does not run as a Python 3; "
                "name another: OVERCAST_PYTHON=/path/to/python3"
            )
        ]
        assert not fresh.stamp.parent.exists()

    def test_a_python_of_no_package_gets_none(self, fresh: Checkout, tmp_path: Path) -> None:
        """Of a Python that Debian did not install, no Debian package brings what it lacks."""
        interpreter = tmp_path / "python3"
        interpreter.write_text("#!/bin/sh\necho 3.99 no /opt/python/bin/python3.99\n")
        interpreter.chmod(0o755)
        refused = fresh.run(OVERCAST_PYTHON=str(interpreter), OVERCAST_APT="")
        assert refused.status == 3
        assert "has no ensurepip; build /opt/python/bin/python3.99 with it, or name another" in refused.said[-1]
        assert "python3.99-venv" not in "".join(refused.said)

    @pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl: apt-get install openssl")
    def test_a_certificate_that_is_not_trusted(self, fresh: Checkout, tmp_path: Path) -> None:
        """An index behind a certificate of its own is not told as a missing network: the fix names the authority."""
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as index:
            index.socket = context.wrap_socket(index.socket, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=index.serve_forever, daemon=True).start()
            url = f"https://127.0.0.1:{index.server_address[1]}/simple"
            fresh.lock.write_text(f"--index-url {url}\npytest==0 --hash=sha256:{'0' * 64}\n")
            refused = fresh.run()
            index.shutdown()
        assert refused.status == 3
        assert re.search(r"certificate that is not trusted here.*PIP_CERT=/path/to/ca.pem ./overcast", refused.said[-2])
        assert not any("is there a network" in line for line in refused.said)

    def test_missing_lock(self, fresh: Checkout) -> None:
        """Without the lock nothing is set up, and the message says how to get it back."""
        fresh.lock.unlink()
        refused = fresh.run()
        assert (refused.status, len(refused.said)) == (3, 1)
        assert "git checkout requirements.lock" in refused.said[0]


@pytest.fixture
def nobodys() -> Iterator[Checkout]:
    """A checkout that belongs to nobody, where nobody can reach it."""
    with tempfile.TemporaryDirectory(prefix="overcast-nobody-") as folder:
        Path(folder).chmod(0o755)
        checkout = Checkout(Path(folder) / "checkout")
        for path in [checkout.path, *checkout.path.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        yield checkout


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to hide iptables and become nobody: sudo ./overcast test")
def test_without_root_it_says_what_is_missing_and_goes_on(nobodys: Checkout, tmp_path: Path) -> None:
    """An unprivileged user gets one line with the command that installs the package, and then the suite runs."""
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if subprocess.run(
        [*as_nobody, "/usr/bin/python3", "-c", "from ensurepip import bootstrap"], check=False
    ).returncode:
        pytest.skip("needs a Python that nobody can run, with ensurepip: apt-get install python3-venv")
    hide = "[ ! -e /usr/sbin/iptables ] || mount --bind /dev/null /usr/sbin/iptables"
    program = tmp_path / "as-nobody"
    program.write_text(f'#!/bin/sh\nexec unshare --mount sh -c \'{hide}; exec "$@"\' - {" ".join(as_nobody)} "$@"\n')
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
    """With --applications what is missing is installed, and a service that comes along is kept from starting."""
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
