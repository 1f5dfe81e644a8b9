"""
A guest machine boots, works and fails as documented in `lab.machines.guests.guest`.

    this process ──wire── guest kernel (User-Mode Linux)
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import execnet
import pytest

from lab.errors import EnvironmentProblem
from lab.machines.guests import guest, uml
from selftests.machines.guests import BOOT, CHECKOUT, DEADLINE, NEEDED, Owner, ask

pytestmark = NEEDED


class TestBoot:
    """The state of a guest right after its start."""

    def test_returns_before_the_guest_is_ready(self, launch: Callable[..., guest.Booting]) -> None:
        """Booting takes no part of the time that the guest needs."""
        started = time.monotonic()
        booting = launch()

        assert time.monotonic() - started < 0.2
        assert booting.exit_status is None

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
        """A module that the kernel does not have is reported on the console and stops nothing."""
        booting = launch(modules=("veth", "no-such-module"))

        assert ask(booting.gateway(group, "guest"), "channel.send(1)") == 1
        assert "no_such_module: this kernel does not have it" in booting.console

    def test_works_from_a_path_with_a_blank(self, tmp_path: Path) -> None:
        """The checkout may lie anywhere."""
        checkout = tmp_path / "my check'out"
        shutil.copytree(CHECKOUT / "lab", checkout / "lab", ignore=shutil.ignore_patterns("__pycache__"))

        with Owner(f"{BOOT}\n    print(booting.exit_status is None); booting.close()", checkout=checkout) as owner:
            owner.line()
            assert owner.line() == "True"


class TestModules:
    """Kernel modules that were not loaded at boot."""

    def test_load_on_demand(self, shared: execnet.Gateway) -> None:
        """A module is loaded with its dependencies; an absent one is named with the reason."""
        failures = ask(
            shared,
            """
            from lab.agent import modules
            channel.send(modules.load(["sch_netem", "xt_conntrack", "veth", "ext4", "nonsense"]))
            """,
        )

        assert failures == {"nonsense": "this kernel does not have it"}

    @pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="no iptables-legacy: apt-get install iptables")
    def test_iptables_is_the_one_that_the_kernel_has(self, shared: execnet.Gateway) -> None:
        """`iptables` can be typed as anywhere, whichever of the two the host prefers."""
        status, said = ask(
            shared,
            """
            import subprocess
            words = ["unshare", "--net", "iptables", "-A", "INPUT", "-p", "gre", "-j", "DROP"]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            channel.send((done.returncode, done.stderr))
            """,
        )

        assert status == 0, said

    @pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="no iptables-legacy: apt-get install iptables")
    def test_the_first_iptables_waits_for_no_module(
        self, launch: Callable[..., guest.Booting], group: execnet.Group
    ) -> None:
        """What iptables needs is loaded when the guest is up, bpfilter with its process too where the kernel has it."""
        gateway = launch().gateway(group, "guest")

        absent, status, said, came = ask(
            gateway,
            """
            import os, subprocess
            from lab.agent import modules
            wanted = ["bpfilter", "ip_tables", "iptable_filter"]
            directory = os.environ[modules.DIRECTORY]
            absent = [name for name in wanted if modules.state(name, directory) == "loadable"]
            before = modules.loaded()
            words = ["unshare", "--net", "iptables", "-S"]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            channel.send((absent, done.returncode, done.stderr, sorted(set(modules.loaded()) - set(before))))
            """,
        )

        assert (absent, status, came) == ([], 0, []), said

    def test_modprobe_can_be_typed(self, shared: execnet.Gateway) -> None:
        """`modprobe` loads and removes a module, and reports why it cannot, whether or not the host has kmod."""
        loaded, removed, refused = ask(
            shared,
            """
            from lab.agent.execution import programs
            listing = "cat /proc/modules"
            commands = (f"modprobe tun; {listing}", f"modprobe -r tun; {listing}", "modprobe nonsense")
            channel.send([programs.run(["sh", "-c", command], 20) for command in commands])
            """,
        )

        assert re.search(r"^tun ", loaded["output"], re.MULTILINE), loaded["errors"]
        assert not re.search(r"^tun ", removed["output"], re.MULTILINE), removed["errors"]
        assert (refused["status"], "nonsense" in refused["errors"]) == (1, True)

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
    """Messages arrive, of any size and in order."""

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


class TestRefusal:
    """A kernel that cannot be booted is rejected before anything starts."""

    def test_no_kernel(self) -> None:
        """A kernel that is not there is named, with the command that brings one."""
        with pytest.raises(EnvironmentProblem) as problem:
            guest.Booting(kernel="/nowhere/linux.uml")

        assert "no User-Mode Linux kernel at /nowhere/linux.uml" in problem.value.message
        assert problem.value.remedy == "sudo apt-get install user-mode-linux"
        lack = guest.available("/nowhere/linux.uml")
        assert lack is not None
        assert lack.message in problem.value.message

    def test_memory_that_is_no_size(self) -> None:
        """A memory size is checked before anything starts."""
        with pytest.raises(uml.UsageProblem, match="such as 256M"):
            guest.Booting(memory="plenty")

    def test_memory_by_need(self) -> None:
        """A guest for many spokes gets more memory, as far as the machine has it."""
        small, large = (uml.memory_size(uml.memory_for(spokes)) for spokes in (2, 60))

        assert small == uml.FEWEST << 20
        assert large > small

    def test_memory_that_fits_nowhere(self) -> None:
        """Too much memory is rejected, with the places that were tried."""
        with pytest.raises(EnvironmentProblem, match="/dev/shm"):
            guest.Booting(memory="900000G")

    def test_outside_the_main_thread(self) -> None:
        """A guest would end with the thread that boots it: threads are rejected."""
        refusals: list[BaseException] = []

        def boot() -> None:
            try:
                guest.Booting()
            except RuntimeError as error:
                refusals.append(error)

        thread = threading.Thread(target=boot)
        thread.start()
        thread.join(DEADLINE)

        assert "main thread" in str(refusals)
