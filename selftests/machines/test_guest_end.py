"""
A guest machine dies and disappears as documented in `lab.machines.guests.guest`.

    this process ──wire── guest kernel (User-Mode Linux)
    a helper process ──wire── another one, whose owner is killed
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import execnet
import pytest

from lab.errors import EnvironmentProblem, MachineLost
from lab.machines.guests import guest, uml
from selftests.machines.guests import BOOT, DEADLINE, NEEDED, Family, Owner, ask

pytestmark = NEEDED


class TestLoss:
    """A guest that is gone, or does not answer, is an error with a message."""

    def test_death_ends_the_channels(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A caller that waits for a guest which is killed gets the end of its channel, and an error with the cause."""
        booting = launch()
        channel = booting.gateway(group, "guest").remote_exec("channel.send('here'); channel.receive()")
        assert channel.receive(DEADLINE) == "here"

        booting.kill()

        with pytest.raises(EOFError):
            channel.receive(DEADLINE)
        assert str(booting.lost()).startswith("the guest kernel ended while it was in use (killed by SIGKILL)")
        assert booting.exit_status is not None

    def test_panic_shows_its_console(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """When the guest's kernel panics, the error quotes the kernel's message."""
        booting = launch()
        channel = booting.gateway(group, "guest").remote_exec("open('/proc/sysrq-trigger', 'w').write('c')")

        with pytest.raises(EOFError):
            channel.receive(DEADLINE)

        loss = str(booting.lost())
        assert "exit status 134" in loss
        assert loss.endswith("its console: Kernel panic - not syncing: sysrq triggered crash")

    def test_out_of_memory_is_one_message(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A guest out of memory reports it, with its size and the option that helps, and no call trace."""
        booting = launch(memory="96M")
        channel = booting.gateway(group, "guest").remote_exec("kept = []\nwhile True: kept.append(b'x' * (1 << 20))")

        with pytest.raises(EOFError):
            channel.receive(DEADLINE)

        message, remedy = str(booting.lost()).splitlines()
        assert message == "the guest kernel ran out of memory while it was in use: it had 96 MiB"
        assert "fewer spokes (--spokes=N)" in remedy

    def test_hang_reports_what_was_observed(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """If a guest runs but does not answer, the error states how this was detected and what its kernel does."""
        booting = launch()
        booting.gateway(group, "guest")
        Family(booting.pid).stop()

        loss = str(booting.lost(why="it gave no answer within 60 s"))

        assert loss.startswith(
            "the guest kernel does not answer any more (it gave no answer within 60 s; its kernel is"
        )
        assert "in state T after " in loss

    def test_hang_is_ended(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """A guest that hangs is closed within two seconds."""
        booting = launch()
        booting.gateway(group, "guest")

        family = Family(booting.pid)
        family.stop()

        started = time.monotonic()
        booting.close()
        assert time.monotonic() - started < 2.0
        family.await_end()

    def test_hang_with_a_writer_is_ended(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """Closing a guest that hangs wakes a caller that waits to write to it."""
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
        """When the kernel does not boot, the error quotes all its output."""
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
        """A guest without a waiting caller is ended, too."""
        booting = launch()
        family = Family(booting.pid)
        booting.close()

        family.await_end()
        with pytest.raises(MachineLost, match="closed before"):
            booting.gateway(group, "guest")

    def test_group_can_end_it(self, launch: Callable[..., guest.Booting], group: execnet.Group) -> None:
        """Terminating execnet's group ends the guest as well."""
        booting = launch()
        booting.gateway(group, "guest")
        family = Family(booting.pid)

        group.terminate(timeout=DEADLINE)

        family.await_end()

    @pytest.mark.parametrize("held_by", ["namespace", "shell"])
    @pytest.mark.parametrize("moment", ["booting", "busy"])
    def test_owner_is_killed(self, moment: str, held_by: str) -> None:
        """When the process that booted a guest is killed, nothing of the guest runs on and no file is left."""
        in_a_shell = "from lab.machines.guests import uml; uml.containment = lambda: uml.IN_A_SHELL"
        limits = in_a_shell if held_by == "shell" else ""
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
        from lab.machines.guests import guest
        first, second = guest.Booting(), guest.Booting()
        first.close()
        third = guest.Booting()
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
