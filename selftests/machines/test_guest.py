"""
A guest machine boots, works, dies and vanishes as `lab.machines.guest` says.

    this process ──wire── guest kernel (User-Mode Linux)
    a helper process ──wire── another one, whose owner is killed
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import execnet
import pytest

from lab.errors import EnvironmentProblem, MachineLost
from lab.machines import guest, uml

MISSING = guest.available()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"{MISSING}; to get it: {uml.REMEDY}")

CHECKOUT = Path(guest.__file__).parents[2]
DEADLINE = 10.0  # seconds; bounds what a failure costs, no success waits for it


@pytest.fixture
def group() -> Iterator[execnet.Group]:
    """Where a test's gateways belong; ended after it."""
    group = execnet.Group()
    yield group
    group.terminate(timeout=1.0)


@pytest.fixture
def launch() -> Iterator[Callable[..., guest.Booting]]:
    """Boots guests and ends them after the test."""
    launched: list[guest.Booting] = []

    def boot(**settings: object) -> guest.Booting:
        launched.append(guest.boot(**settings))  # type: ignore[arg-type]
        return launched[-1]

    yield boot
    for booting in launched:
        family = Family(booting.pid)
        booting.close()
        family.await_end()


@pytest.fixture(scope="module")
def shared() -> Iterator[execnet.Gateway]:
    """A gateway to one guest for all tests that leave it as it is."""
    group = execnet.Group()
    booting = guest.boot()
    yield booting.gateway(group, "shared")
    booting.close()
    group.terminate(timeout=1.0)


def ask(gateway: execnet.Gateway, source: str, *, timeout: float = DEADLINE) -> object:
    """What `source`, run in the guest, sends first."""
    return gateway.remote_exec(textwrap.dedent(source)).receive(timeout)


class Family:
    """The processes on the host that make up a guest, held so that their end can be awaited."""

    def __init__(self, booting_pid: int) -> None:
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        self.pids = [booting_pid]
        for pid in self.pids:  # grows while it is walked: the children's children
            self.pids += children.get(pid, [])
        self._descriptors = []
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                self._descriptors.append(os.pidfd_open(pid))

    def stop(self) -> None:
        """Let the guest's kernel stand still."""
        for pid in self.pids:
            if Path(f"/proc/{pid}/comm").read_text().startswith("linux.uml"):
                os.kill(pid, signal.SIGSTOP)

    def named_files(self) -> set[Path]:
        """The files that the guest has open in places for temporary files and that still have a name."""
        places = tuple({"/dev/shm/", "/tmp/", "/var/tmp/", f"{tempfile.gettempdir()}/"})
        found = set()
        for pid in self.pids:
            with contextlib.suppress(OSError):
                found |= {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        return {Path(name) for name in found if name.startswith(places) and not name.endswith("(deleted)")}

    def await_end(self) -> None:
        """Return when the last of them has ended."""
        deadline = time.monotonic() + DEADLINE
        for descriptor in self._descriptors:
            ended = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
            os.close(descriptor)
            assert ended, f"something of the guest was left behind: one of {self.pids}"


class Owner:
    """A process that boots a guest and says so; what it says comes line by line."""

    def __init__(self, source: str, *command: str, checkout: Path = CHECKOUT) -> None:
        installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        prologue = f"import sys; sys.dont_write_bytecode = True; sys.path[:0] = {[str(checkout), *installed]!r}\n"
        self.process = subprocess.Popen(
            [*(command or (sys.executable,)), "-c", prologue + textwrap.dedent(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line that it says; all of it if that is a traceback."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        return line + self.process.stdout.read() if line.startswith("Traceback") else line


BOOT = """
    import execnet
    from lab.machines import guest
    booting = guest.boot()
    print(booting.pid, flush=True)
    gateway = booting.gateway(execnet.Group(), "guest")
"""


class TestBoot:
    """What a guest is right after it came up."""

    def test_returns_before_the_guest_is_ready(self, launch: Callable[..., guest.Booting]) -> None:
        """Booting takes no part of the time that the guest needs."""
        started = time.monotonic()
        booting = launch()

        assert time.monotonic() - started < 0.2
        assert booting.alive()

    def test_kernel_is_not_the_hosts(self, shared: execnet.Gateway) -> None:
        """What runs in the guest runs as its first process and its root, on its own kernel."""
        name, pid, user = ask(shared, "import os; channel.send((os.uname().nodename, os.getpid(), os.getuid()))")

        assert (name, pid, user) == ("guest", 1, 0)

    def test_has_gretap(self, shared: execnet.Gateway) -> None:
        """A gretap can be created with pyroute2."""
        kind = ask(
            shared,
            """
            import pyroute2
            with pyroute2.IPRoute() as ip:
                ip.link("add", ifname="gretap1", kind="gretap", gre_local="10.0.0.197", gre_remote="10.0.0.25")
                link = ip.get_links(ifname="gretap1")[0]
                channel.send(link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND"))
                ip.link("del", ifname="gretap1")
            """,
        )

        assert kind == "gretap"

    def test_imports_from_the_checkout(self, shared: execnet.Gateway) -> None:
        """The guest runs the same files as the host."""
        assert ask(shared, "import lab; channel.send(lab.__file__)") == str(CHECKOUT / "lab" / "__init__.py")

    def test_cannot_write_to_the_host(self, shared: execnet.Gateway) -> None:
        """The host's files are read-only for the guest, even where the user may write."""
        error = ask(
            shared,
            f"""
            try:
                open({str(CHECKOUT / "written-by-a-guest")!r}, "w")
            except OSError as error:
                channel.send(error.errno)
            """,
        )

        assert error == 30  # EROFS

    def test_survives_an_absent_module(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A module that the kernel does not have is told to the console and stops nothing."""
        booting = launch(modules=("veth", "no-such-module"))

        assert ask(booting.gateway(group, "guest"), "channel.send(1)") == 1
        assert "no_such_module: this kernel does not have it" in booting.console

    def test_works_from_a_path_with_a_blank(self, tmp_path: Path) -> None:
        """The checkout may lie anywhere."""
        checkout = tmp_path / "my check'out"
        shutil.copytree(CHECKOUT / "lab", checkout / "lab", ignore=shutil.ignore_patterns("__pycache__"))

        with Owner(f"{BOOT}\n    print(booting.alive()); booting.close()", checkout=checkout) as owner:
            owner.line()
            assert owner.line() == "True"


class TestModules:
    """Kernel modules that were not loaded at boot."""

    def test_load_on_demand(self, shared: execnet.Gateway) -> None:
        """A module is loaded with what it needs; one that is absent is named with the reason."""
        failures = ask(
            shared,
            """
            from lab.agent import modules
            channel.send(modules.load(["sch_netem", "xt_conntrack", "veth", "ext4", "nonsense"]))
            """,
        )

        assert failures == {"nonsense": "this kernel does not have it"}

    def test_come_when_the_kernel_wants_them(self, shared: execnet.Gateway) -> None:
        """A link of a kind whose module is not loaded can be created."""
        loaded_before, kind = ask(
            shared,
            """
            import os, pyroute2
            before = os.path.exists("/sys/module/dummy")
            with pyroute2.IPRoute() as ip:
                ip.link("add", ifname="idle", kind="dummy")
                link = ip.get_links(ifname="idle")[0]
                channel.send((before, link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")))
                ip.link("del", ifname="idle")
            """,
        )

        assert (loaded_before, kind) == (False, "dummy")


class TestWire:
    """What is sent arrives, whatever its size and order."""

    ECHO_HASH = """
        import hashlib
        heard = hashlib.sha256()
        for block in channel:
            if block is None:
                break
            heard.update(block)
        channel.send(heard.hexdigest())
    """

    def test_carries_much_to_the_guest(self, shared: execnet.Gateway) -> None:
        """Megabytes in blocks of odd sizes arrive unaltered."""
        channel = shared.remote_exec(textwrap.dedent(self.ECHO_HASH))
        sent = hashlib.sha256()
        for size in (1, 1023, 3800, 4096, 65537, 2_500_000):
            block = os.urandom(size)
            sent.update(block)
            channel.send(block)
        channel.send(None)

        assert channel.receive(DEADLINE) == sent.hexdigest()

    def test_carries_much_from_the_guest(self, shared: execnet.Gateway) -> None:
        """Twenty megabytes arrive unaltered, however late they are read."""
        channel = shared.remote_exec(
            "import os, hashlib\nblock = os.urandom(1 << 20)\nchannel.send(hashlib.sha256(block).hexdigest())\n"
            "for _ in range(20): channel.send(block)"
        )
        expected = channel.receive(DEADLINE)

        assert {hashlib.sha256(channel.receive(DEADLINE)).hexdigest() for _ in range(20)} == {expected}

    def test_carries_both_ways_at_once(self, shared: execnet.Gateway) -> None:
        """Four channels that send and receive at the same time do not disturb each other."""
        mirror = "for block in channel: channel.send(block)"
        channels = [shared.remote_exec(mirror) for _ in range(4)]
        heard: dict[int, bytes] = {}

        def exchange(number: int) -> None:
            for _ in range(20):
                channels[number].send(bytes([number]) * 10_000)
            heard[number] = b"".join(channels[number].receive(DEADLINE) for _ in range(20))

        threads = [threading.Thread(target=exchange, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)

        assert heard == {number: bytes([number]) * 200_000 for number in range(4)}


class TestLoss:
    """A guest that is gone, or does not answer, is an error in words."""

    def test_death_ends_the_channels(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A caller that waits for a guest which is killed gets the end of its channel, and an error that says how."""
        booting = launch()
        channel = booting.gateway(group, "guest").remote_exec("channel.send('here'); channel.receive()")
        assert channel.receive(DEADLINE) == "here"

        booting.kill()

        with pytest.raises(EOFError):
            channel.receive(DEADLINE)
        assert str(booting.lost()).startswith("the guest kernel ended while it was in use (killed by SIGKILL)")
        assert not booting.alive()

    def test_panic_shows_its_console(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """When the guest's kernel panics, the error quotes what the kernel said."""
        booting = launch()
        channel = booting.gateway(group, "guest").remote_exec("open('/proc/sysrq-trigger', 'w').write('c')")

        with pytest.raises(EOFError):
            channel.receive(DEADLINE)

        loss = str(booting.lost())
        assert "exit status 134" in loss
        assert "sysrq" in loss

    def test_hang_is_noticed_and_ended(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A guest that stands still does not count as alive, and is closed within two seconds."""
        booting = launch()
        booting.gateway(group, "guest")
        assert booting.alive()

        family = Family(booting.pid)
        family.stop()

        assert not booting.alive(timeout=0.2)
        started = time.monotonic()
        booting.close()
        assert time.monotonic() - started < 2.0
        family.await_end()

    def test_hang_with_a_writer_is_ended(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """Closing a guest that stands still wakes whoever waits to write to it."""
        booting = launch()
        channel = booting.gateway(group, "guest").remote_exec("channel.receive()")
        Family(booting.pid).stop()
        outcome: list[BaseException] = []

        def write() -> None:
            try:
                channel.send(bytes(100_000))
            except OSError as error:
                outcome.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        started = time.monotonic()
        booting.close()
        writer.join(DEADLINE)

        assert time.monotonic() - started < 2.0
        assert len(outcome) == 1

    def test_not_ready_in_time(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A guest that is not ready in time is an environment problem with the time in it, and is ended."""
        booting = launch(boot_timeout=0.01)
        family = Family(booting.pid)

        with pytest.raises(EnvironmentProblem, match=r"not ready within 0\.01 s"):
            booting.gateway(group, "guest")

        family.await_end()

    def test_kernel_that_ends_at_once(
        self, launch: Callable[..., guest.Booting], group: execnet.Group, tmp_path: Path
    ) -> None:
        """When the kernel does not boot, the error quotes all that it said."""
        kernel = tmp_path / "bin" / "linux.uml"
        kernel.parent.mkdir()
        kernel.write_text("#!/bin/sh\necho no room for a kernel >&2\nexit 3\n")
        kernel.chmod(0o755)
        (tmp_path / "lib" / "uml" / "modules").mkdir(parents=True)
        booting = launch(kernel=str(kernel))

        with pytest.raises(MachineLost) as loss:
            booting.gateway(group, "guest")

        assert "ended before it was ready (exit status 3)" in str(loss.value)
        assert "no room for a kernel" in str(loss.value)


class TestRefusal:
    """What cannot be booted is refused before anything starts."""

    def test_no_kernel(self) -> None:
        """A kernel that is not there is named, with the command that brings one."""
        with pytest.raises(EnvironmentProblem) as problem:
            guest.boot(kernel="/nowhere/linux.uml")

        assert "no User-Mode Linux kernel at /nowhere/linux.uml" in problem.value.message
        assert problem.value.remedy == "sudo apt-get install user-mode-linux"
        assert guest.available("/nowhere/linux.uml") in problem.value.message

    def test_memory_that_is_no_size(self) -> None:
        """A memory size is checked before anything starts."""
        with pytest.raises(uml.UsageProblem, match="such as 256M"):
            guest.boot(memory="plenty")

    def test_memory_that_fits_nowhere(self) -> None:
        """Too much memory is refused, with the places that were tried."""
        with pytest.raises(EnvironmentProblem, match="/dev/shm"):
            guest.boot(memory="900000G")

    def test_outside_the_main_thread(self) -> None:
        """A guest would end with the thread that boots it: threads are refused."""
        refusals: list[BaseException] = []

        def boot() -> None:
            try:
                guest.boot()
            except RuntimeError as error:
                refusals.append(error)

        thread = threading.Thread(target=boot)
        thread.start()
        thread.join(DEADLINE)

        assert "main thread" in str(refusals)


class TestEnd:
    """Nothing of a guest stays."""

    def test_close_powers_off(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A closed guest ended by itself, even if something still runs in it; closing again does nothing."""
        booting = launch()
        booting.gateway(group, "guest").remote_exec("while True: pass")
        booting.close()
        booting.close()

        assert booting.exit_status == 0
        assert "System halted" in booting.console
        assert len(group) == 0

    def test_close_while_it_boots(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A guest that nobody waited for is ended too."""
        booting = launch()
        family = Family(booting.pid)
        booting.close()

        family.await_end()
        with pytest.raises(MachineLost, match="closed before"):
            booting.gateway(group, "guest")

    def test_group_can_end_it(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """Terminating execnet's group powers the guest off as well."""
        booting = launch()
        booting.gateway(group, "guest")
        group.terminate(timeout=DEADLINE)

        assert booting.exit_status == 0

    @pytest.mark.parametrize("held_by", ["namespace", "shell"])
    @pytest.mark.parametrize("moment", ["booting", "busy"])
    def test_owner_is_killed(self, moment: str, held_by: str) -> None:
        """When the process that booted a guest is killed, nothing of the guest runs on and no file is left."""
        limits = "from lab.machines import uml; uml.containment = lambda: uml.IN_A_SHELL" if held_by == "shell" else ""
        busy = "gateway.remote_exec('while True: pass'); print('busy', flush=True); sys.stdin.read()"
        with Owner(f"\n    {limits}{BOOT}\n    {busy}") as owner:
            pid = int(owner.line())
            if moment == "busy":
                assert owner.line() == "busy"
            family = Family(pid)
            files = family.named_files()

            owner.process.kill()
            family.await_end()

        assert [path for path in files if path.exists()] == []

    def test_without_a_pid_namespace(
        self, launch: Callable[..., guest.Booting], group: execnet.Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where no namespace is allowed a guest works, and closing it leaves nothing even if it hangs."""
        monkeypatch.setattr(uml, "containment", lambda: uml.IN_A_SHELL)
        booting = launch()

        assert ask(booting.gateway(group, "guest"), "channel.send(1)") == 1
        family = Family(booting.pid)
        family.stop()
        booting.close()
        family.await_end()


def test_two_side_by_side(launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
    """Two guests have a kernel each."""
    gateways = [launch().gateway(group, f"guest{number}") for number in range(2)]
    for number, gateway in enumerate(gateways):
        ask(gateway, f"import socket; socket.sethostname('guest{number}'); channel.send(1)")

    names = [ask(gateway, "import os; channel.send(os.uname().nodename)") for gateway in gateways]

    assert names == ["guest0", "guest1"]


def test_two_share_no_cpu() -> None:
    """Two guests run on different CPUs where there are two, and a guest that ended makes room."""
    cpus = sorted(os.sched_getaffinity(0))
    alone = ("unshare", "--user", "--map-root-user", "--net")  # other tests' guests do not count there
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespace to be alone in; to allow it: sysctl user.max_user_namespaces=10000")
    source = """
        import os
        from lab.machines import guest
        first, second = guest.boot(), guest.boot()
        first.close()
        third = guest.boot()
        for booting in (second, third):
            booting.gateway(guest.execnet.Group(), "guest")
            print(*os.sched_getaffinity(booting.pid), flush=True)
            booting.close()
    """

    with Owner(source, *alone, sys.executable) as owner:
        assert [owner.line(), owner.line()] == [str(cpus[1 % len(cpus)]), str(cpus[0])]


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.skipif(os.geteuid() != 0, reason="run by an ordinary user: every test here shows it")
def test_ordinary_user() -> None:
    """An ordinary user boots a guest, and is root in it."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        check = "import sys, pty; sys.exit(sys.version_info < (3, 10))"
        # The shell between: the capabilities that still let setpriv pass into any directory end with it.
        usable = subprocess.run([*NOBODY, "sh", "-c", '"$0" -c "$1"', python, check], capture_output=True, check=False)
        if usable.returncode == 0:
            break
    else:
        pytest.skip("no Python 3.10 or newer that other users can read")

    source = f"""{BOOT}
    import os
    print(os.getuid(), gateway.remote_exec("import os; channel.send(os.getuid())").receive(), flush=True)
    booting.close()
    """
    with Owner(source, *NOBODY, python) as owner:
        owner.line()
        assert owner.line() == "65534 0"
