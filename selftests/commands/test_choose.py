"""Which kernel runs the lab is found by trying, and what is missing is named with what brings it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import execnet
import pytest

from lab.agent import modules
from lab.commands import bench
from lab.errors import EnvironmentProblem, MachineLost, UsageProblem
from lab.machines import abilities, firewall
from lab.machines.base import Agent, Machine
from lab.machines.choose import Choice, Starting, choose, start
from lab.machines.guests import guest, uml

ROOT = Path(__file__).resolve().parents[2]
ORDINARY_USER = 65534


@pytest.fixture(scope="module")
def possible() -> abilities.Abilities:
    """What this kernel can do; skips where namespaces are not to be had."""
    found = abilities.probe(["veth", "nonsense"])
    if found.namespaces:
        pytest.skip(f"no namespaces here: {os.strerror(found.namespaces)}")
    return found


def test_probe_distinguishes_supported_from_unsupported_kinds(possible: abilities.Abilities) -> None:
    """A veth can be created, an unknown kind cannot, and the trial leaves nothing in this namespace."""
    assert possible.kinds == {"veth": 0, "nonsense": errno.EOPNOTSUPP}
    assert possible.captures == 0
    assert not Path("/sys/class/net/try0").exists()


def test_probe_agrees_with_ip(possible: abilities.Abilities) -> None:
    """A gretap can be made exactly when ip-link(8) can make one in a namespace."""
    if shutil.which("ip") is None:
        pytest.skip("needs ip: apt-get install iproute2")
    rootless = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["ip", "link", "add", "try0", "type", "gretap", "local", "192.0.2.1", "remote", "192.0.2.2"]
    tried = subprocess.run(["unshare", "--net", *rootless, *words], capture_output=True, check=False)
    assert (abilities.probe(["gretap"]).kinds["gretap"] == 0) == (tried.returncode == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_choice_needs_no_root(possible: abilities.Abilities) -> None:
    """An ordinary user gets the same choice where user namespaces are allowed, the guest otherwise."""
    become = f"import os; os.setgroups([]); os.setgid({ORDINARY_USER}); os.setuid({ORDINARY_USER})"
    code = f"{become}; from lab.machines import choose; print(choose.choose('auto', 'vxlan').kind)"
    # root's imports come first: other users may not be able to read the library
    code = f"import lab.machines.choose; {code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() in ("local", "guest"), done.stderr


def test_unknown_kernel_is_a_usage_problem() -> None:
    """An unknown kernel is rejected with the list of known ones."""
    with pytest.raises(UsageProblem, match="expected one of auto, host, guest"):
        choose("best", "vxlan")


def test_host_that_cannot_names_the_remedy(possible: abilities.Abilities) -> None:
    """--kernel=host on a kernel without the tunnel names what is missing, and offers only what can work."""
    with pytest.raises(EnvironmentProblem, match="has no nonsense") as refused:
        choose("host", "nonsense")
    assert refused.value.remedy is not None
    assert "modprobe" not in refused.value.remedy  # there is no such module
    assert "guest kernel" in refused.value.remedy
    assert ("--tunnel=vxlan" in refused.value.remedy) == (not abilities.probe(["vxlan"]).kinds["vxlan"])


def test_auto_falls_back_to_the_guest(possible: abilities.Abilities) -> None:
    """Without the tunnel on this kernel the guest runs the lab, and one line announces it with the reason."""
    if problem := guest.available():
        pytest.skip(str(problem))
    chosen = choose("auto", "nonsense")
    assert chosen.kind == "guest"
    assert "has no nonsense" in chosen.reason
    assert "\n" not in chosen.reason


def test_many_hosts_need_a_kernel_of_their_own(possible: abilities.Abilities, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all namespaces of this kernel share is too small for many hosts: a guest, or the command that widens it."""
    monkeypatch.setattr("lab.machines.choose.SHARED_TABLES", {"net.core.hidden": 1000})
    if abilities.probe(["vxlan"]).kinds["vxlan"]:
        pytest.skip("this kernel has no vxlan: sudo modprobe vxlan")

    assert choose("auto", "vxlan", hosts=3).kind == "local"
    with pytest.raises(EnvironmentProblem, match=r"share net\.core\.hidden = 1000; 41 hosts need 6724") as refused:
        choose("host", "vxlan", hosts=41)
    assert "sudo sysctl -w net.core.hidden=6724" in str(refused.value.remedy)
    if not guest.available():
        assert choose("auto", "vxlan", hosts=41).kind == "guest"


def test_bench_leaves_out_labs_that_would_fill_the_shared_tables(
    possible: abilities.Abilities, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A size for which this kernel's tables are too small is not measured on it, and is named with the table."""
    monkeypatch.setattr("lab.machines.choose.SHARED_TABLES", {"net.core.hidden": 1000})

    assert bench._fitting([2, 10, 50]) == [2, 10]
    said = capsys.readouterr().err
    assert "not measured: host kernel, 50 spokes: all namespaces of this kernel share net.core.hidden = 1000" in said


def test_no_kernel_at_all_is_one_message(possible: abilities.Abilities, monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither, the message names both lacks, and the remedy is the package that brings a guest."""
    lack = EnvironmentProblem("there is no User-Mode Linux kernel at /usr/bin/linux.uml", remedy=uml.REMEDY)
    monkeypatch.setattr(guest, "available", lambda: lack)
    with pytest.raises(EnvironmentProblem, match=r"has no nonsense.*there is no User-Mode Linux kernel") as refused:
        choose("auto", "nonsense")
    assert "apt-get install user-mode-linux" in str(refused.value.remedy)
    with pytest.raises(EnvironmentProblem, match="--kernel=guest needs a guest kernel"):
        choose("guest", "gretap")


def test_a_missing_program_is_brought_by_its_own_package(tmp_path: Path) -> None:
    """Where a guest kernel is there and setpriv is not, the package is util-linux; another guest kernel is no help."""
    kernel = tmp_path / "bin" / "linux.uml"
    kernel.parent.mkdir()
    kernel.write_text("#!/bin/sh\n")
    kernel.chmod(0o755)
    (tmp_path / "lib/uml/modules").mkdir(parents=True)
    code = "from lab.machines import choose; choose.choose('guest', 'gretap')"
    for tool in ("unshare", "taskset", "sh"):
        (kernel.parent / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": str(kernel.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "setpriv of util-linux is not on the PATH" in done.stderr
    assert "apt-get install --reinstall util-linux" in done.stderr
    assert "user-mode-linux" not in done.stderr


@pytest.mark.parametrize(
    ("system", "release", "command"),
    [
        ("ubuntu debian", "6.8.0-1015-aws", "sudo apt-get install linux-modules-extra-6.8.0-1015-aws"),
        ("debian", "6.1.0-25-cloud-amd64", "sudo apt-get install linux-image-amd64   (then boot that kernel)"),
        ("debian", "6.1.0-25-amd64", None),
        ("ol fedora", "5.15.0-206.el9uek.x86_64", "sudo dnf install kernel-uek-modules-extra-5.15.0-206.el9uek.x86_64"),
        (
            "rocky rhel centos fedora",
            "5.14.0-427.el9.x86_64",
            "sudo dnf install kernel-modules-extra-5.14.0-427.el9.x86_64",
        ),
        ("alpine", "6.6.31-0-lts", None),
    ],
)
def test_the_package_with_a_kernels_other_modules(system: str, release: str, command: str | None) -> None:
    """Distributions that keep modules apart have a package for the running kernel; of the others none is named."""
    assert abilities.package_with_modules(system, release) == command


def test_a_module_that_is_there_is_loaded_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that the running kernel can load is brought by modprobe; one that it has not is not."""
    (tmp_path / "modules.dep").write_text("kernel/net/ipv4/ip_gre.ko.xz: kernel/net/ipv4/gre.ko.xz\n")
    monkeypatch.setenv(modules.DIRECTORY, str(tmp_path))

    assert abilities.remedy("gretap") == "sudo modprobe ip_gre"
    assert "modprobe" not in str(abilities.remedy("vxlan"))


class Refusing:
    """A node on whose kernel iptables does not work, or where there is none."""

    def __init__(self, status: int) -> None:
        self.machine = SimpleNamespace(name="the agent on this machine", kind="local", load_modules=lambda *names: {})
        self.answer = {"status": status, "output": "", "errors": "can't initialize iptables table `filter'"}

    def run(self, *arguments: str) -> dict[str, object]:
        return self.answer


@pytest.mark.parametrize(("status", "installing"), [(127, True), (3, False)])
def test_a_program_that_is_there_is_not_installed_again(status: int, installing: bool) -> None:
    """If the kernel rejects iptables, its modules are missing: installing the package would not help."""
    with pytest.raises(EnvironmentProblem, match="no working iptables") as refused:
        firewall.tool(Refusing(status))  # type: ignore[arg-type]

    assert ("apt-get install iptables" in str(refused.value.remedy)) == installing


class Listing(Refusing):
    """A guest whose kernel has nf_tables, but not for IPv4: iptables-nft lists no rule, and adds none."""

    def __init__(self) -> None:
        super().__init__(4)
        self.machine.kind = "guest"

    def run(self, *arguments: str) -> dict[str, object]:
        return self.answer if "-N" in " ".join(arguments) else {"status": 0, "output": "", "errors": ""}


def test_an_iptables_that_only_lists_is_not_used() -> None:
    """A kernel that lists rules but accepts none has no working iptables; the fix names guest kernels that have it."""
    with pytest.raises(EnvironmentProblem, match="no working iptables") as refused:
        firewall.tool(Listing())  # type: ignore[arg-type]

    assert "Debian 12 or 13" in str(refused.value.remedy)


def test_local_machine_starts_beside_other_work(possible: abilities.Abilities) -> None:
    """`start` returns before the agent answers; `machine` gives it warm; `close` ends it, and again does nothing."""
    group = execnet.Group()
    starting = start(Choice("local", ""), group)
    machine = starting.machine()
    assert machine.facts["pyroute2"]
    assert 0 < starting.answered < starting.warm
    starting.close()
    starting.close()
    with pytest.raises(MachineLost):
        machine.call(Agent.hello)
    group.terminate(1.0)


@pytest.mark.parametrize("kind", ["local", "guest"])
def test_close_while_starting(possible: abilities.Abilities, kind: str) -> None:
    """A machine that is no longer wanted while it starts is ended, and its thread with it."""
    if kind == "guest" and (problem := guest.available()):
        pytest.skip(str(problem))
    before = threading.active_count()
    group = execnet.Group()
    starting = start(Choice(kind, ""), group)  # type: ignore[arg-type]
    starting.close()
    group.terminate(1.0)
    assert threading.active_count() <= before + 2  # execnet's receivers may still be on their way out


def test_error_of_the_thread_is_raised_where_the_machine_is_wanted() -> None:
    """What kept a machine from starting is raised by `machine`, each time."""

    def fail() -> Machine:
        raise EnvironmentProblem("it does not boot")

    starting = Starting(fail)
    for _ in range(2):
        with pytest.raises(EnvironmentProblem, match="it does not boot"):
            starting.machine()
