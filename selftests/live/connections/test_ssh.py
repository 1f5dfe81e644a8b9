"""
Machines over ssh: they connect at once, are where they say they are, and every failure is one clear message.

    this process --ssh, in the cloud network-- hub, spoke1, spoke2: an sshd each
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import execnet
import pytest

from lab.errors import EnvironmentProblem, UsageProblem
from lab.machines.live import agent_archive, hosts, ssh
from lab.machines.live.ssh_link import Login, SshLink, Unusable
from lab.machines.node import Agent, Node
from lab.stack.changes import neigh_add, neigh_del
from selftests.live.conftest import Reach
from selftests.live.rig import Rig

SUDO = pytest.mark.skipif(shutil.which("sudo") is None, reason="there is no sudo here: apt-get install sudo")


def the_failure(connected: ssh.Connected) -> Unusable:
    """The hub's; the spoke of these tests can always be reached."""
    assert list(connected.machines) == ["spoke1"], connected.failures
    (failure,) = connected.failures
    assert isinstance(failure, Unusable)
    assert str(failure).startswith(f"{failure.spec.destination}: ")
    assert failure.remedy
    return failure


def test_machines_come_in_their_order(reach: Reach) -> None:
    """Every host has an agent, by its role."""
    connected = reach("hub,spoke1,spoke2")

    assert not connected.failures
    assert [machine.name for machine in connected.all()] == ["hub", "spoke1", "spoke2"]
    assert list(connected.machines) == ["hub", "spoke1", "spoke2"]
    assert {machine.kind for machine in connected.all()} == {"ssh"}


def test_the_users_configuration_holds(rig: Rig) -> None:
    """Names, users, keys and proxies are those of ssh's configuration; `ssh_config` names another one."""
    connected = ssh.reach(hosts.parse(rig.specs), Login(str(rig.ssh_config)))

    assert len(connected.all()) == 3
    connected.close()


@pytest.mark.parametrize("same", [True, False], ids=["the same bytecode", "another bytecode"])
def test_the_agent_is_sent_as_bytecode_where_it_can_be_read(
    reach: Reach, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """A Python with this one's bytecode gets that and compiles nothing; another one gets sources."""
    if not same:
        monkeypatch.setattr(agent_archive, "BYTECODE", "00000000")
    sent: list[bytes] = []
    send = SshLink.send
    monkeypatch.setattr(SshLink, "send", lambda link, archive: sent.append(archive) or send(link, archive))

    python = os.path.realpath(sys.executable)
    machines = reach(f"hub?python={python},spoke1?python={python}").all()

    assert all(machine.call(Agent.hello) for machine in machines)
    names = [name for archive in sent for name in zipfile.ZipFile(io.BytesIO(archive)).namelist()]
    assert {name.rpartition(".")[2] for name in names if name.startswith("lab/")} == {"pyc" if same else "py"}


def test_a_jump_host(rig: Rig, reach: Reach, tmp_path: Path) -> None:
    """A host behind a jump host is reached through it, with ssh's configuration."""
    config = tmp_path / "config"
    config.write_text(f"Host spoke1\n    ProxyJump hub\n{rig.inner_config.read_text()}")

    machines = reach("hub,spoke1", config=config).all()

    (login,) = [line for line in rig.hosts["spoke1"].log if "Accepted publickey" in line][-1:]
    assert f"from {rig.hosts['hub'].address} " in login
    assert machines[1].call(Agent.hello)


def test_a_shared_connection(rig: Rig, reach: Reach, tmp_path: Path) -> None:
    """Connections that ssh keeps for later logins are used, are not waited for, and outlast ours."""
    config = tmp_path / "config"
    shared = f"    ControlMaster auto\n    ControlPath {rig.directory}/%C\n    ControlPersist 60\n"
    config.write_text(f"Host *\n{shared}{rig.inner_config.read_text()}")
    logins = len([line for line in rig.hosts["hub"].log if "Accepted publickey" in line])

    for _ in range(2):
        began = time.monotonic()
        connected = reach("hub,spoke1", config=config)
        assert [machine.facts["uid"] for machine in connected.all()] == [0, 0]
        connected.close()
        assert time.monotonic() - began < 10

    assert len([line for line in rig.hosts["hub"].log if "Accepted publickey" in line]) == logins + 1
    for host in ("hub", "spoke1"):
        subprocess.run(["ssh", "-F", str(config), "-O", "exit", host], check=True, stderr=subprocess.DEVNULL)


def test_an_agent_sees_the_hosts_own_stack(rig: Rig, reach: Reach) -> None:
    """The home of a live host's agent is the host's own network stack, with the devices and addresses that it has."""
    for name, machine in reach("hub,spoke1,spoke2").machines.items():
        live = Node.home(name, machine)
        known = rig.lab[name].node

        assert live.read("addresses") == known.read("addresses")
        assert {link.name for link in live.read("links")} == {link.name for link in known.read("links")}
        assert live.sysctl("net.ipv4.icmp_echo_ignore_broadcasts") == "0"


@SUDO
def test_sudo_makes_the_agent_root(reach: Reach) -> None:
    """With sudo an ordinary user's agent is root, and can do what needs root."""
    machine = reach("opc@hub?sudo=true,spoke1").machines["hub"]
    node = Node.home("hub", machine)

    assert machine.facts["uid"] == 0
    before = node.write_sysctls({"net.ipv4.conf.ens3.log_martians": 1})
    node.write_sysctls(before)


def test_without_sudo_the_agent_is_the_user(reach: Reach) -> None:
    """Without root an agent still reads what any user may read, and the rest is rejected."""
    machine = reach("opc@hub,spoke1").machines["hub"]
    node = Node.home("hub", machine)

    assert machine.facts["uid"] != 0
    assert node.has_link("bridge0")
    assert node.counters()["IpInReceives"] > 0
    with pytest.raises(PermissionError):
        node.write_sysctls({"net.ipv4.conf.ens3.log_martians": 1})


@SUDO
def test_sudo_for_all_hosts(reach: Reach) -> None:
    """A host's own option overrides --sudo, and sudo is not used on a host with a login as root."""
    connected = reach("opc@hub,opc@spoke1?sudo=false,bare@spoke2?sudo=false", sudo=True)
    assert [machine.facts["uid"] == 0 for machine in connected.all()] == [True, False, False]

    (machine, *_) = reach("root@hub,opc@spoke1", sudo=True).all()
    assert machine.facts["uid"] == 0


def test_a_greeting_is_no_answer(reach: Reach) -> None:
    """The output of a login shell before the agent starts does not disturb it."""
    machine = reach("noisy@hub,spoke1").machines["hub"]

    assert machine.call(Agent.node_home)


# what can be wrong with a host: how it is named, why it fails, words of the message, words of the remedy
FAILURES = {
    "unresolved": (
        "ssh://no-such-host.invalid",
        "unresolved",
        "no-such-host.invalid: its name cannot be resolved",
        "ADDRESS",
    ),
    "refused": ("ssh://hub:2", "refused", "refused the connection", "ssh://hub:PORT"),
    "no-sudo": ("bare@hub?sudo=true", "sudo-missing", "there is no sudo", "log in as root"),
    "sudo-password": ("asked@hub?sudo=true", "sudo-password", "a password for asked", "asked ALL=(root) NOPASSWD"),
    "sudo-denied": ("noisy@hub?sudo=true", "sudo-password", "a password for noisy", "NOPASSWD: ALL"),
    "no-python": ("hub?python=/opt/python3", "python-missing", "there is no /opt/python3", "?python=/usr/bin/python3"),
    "python-under-sudo": ("opc@hub?python=/opt/x&sudo=true", "python-missing", "there is no /opt/x", "&sudo=true"),
    "not-python": (
        "hub?python=/bin/true",
        "no-agent",
        "/bin/true was to be started there, but did not run",
        "inner_config hub",
    ),
    "failing": ("hub?python=/bin/false", "no-agent", "did not run (exit status 1)", "inner_config hub"),
    "nologin": ("closed@hub", "no-shell", "closed may log in there, but not run a program", "ssh://USER@hub"),
    "wrong-user": ("misled@hub", "wrong-user", "accepts logins as opc, not as misled", "ssh://opc@hub?sudo=true"),
    "endless-noise": ("endless@hub", "no-agent", "did not run", "inner_config endless@hub"),
    "hanging-login": ("slow@hub?timeout=2.5", "slow", "no program runs there after 2.5 s", "inner_config slow@hub"),
    "configuration": ("hub?ssh_config=/no/such/file", "ssh-config", "No such file", "ssh -F /no/such/file hub"),
}


@pytest.fixture(scope="module")
def tried(shared_rig: Rig) -> ssh.Connected:
    """All of them tried at once, and one host that can be used."""
    specs = [hosts.parse(f"{spec},other")[0] for spec, *_ in FAILURES.values()]
    specs = [replace(spec, position=position) for position, spec in enumerate([*specs, hosts.parse("spoke1,other")[0]])]
    with shared_rig.entered():
        connected = ssh.reach(specs, Login(str(shared_rig.inner_config)))
    connected.close()
    return connected


def test_failures_do_not_block_the_other_hosts(tried: ssh.Connected) -> None:
    """A host that can be used is connected whatever happens to the others, and every failure is one host's."""
    assert list(tried.machines) == [f"spoke{len(FAILURES)}"]
    assert len(tried.failures) == len(FAILURES)


@pytest.mark.parametrize("name", [pytest.param(name, marks=SUDO if "sudo" in name else ()) for name in FAILURES])
@pytest.mark.usefixtures("rig")
def test_why_a_host_cannot_be_used(tried: ssh.Connected, name: str) -> None:
    """The message names the host, the cause and the next command."""
    _, code, sentence, remedy = FAILURES[name]

    failure = tried.failures[list(FAILURES).index(name)]

    assert isinstance(failure, Unusable)
    assert failure.code == code, failure
    assert failure.message.startswith(f"{failure.spec.destination}: ")
    assert sentence in failure.message
    assert remedy in str(failure.remedy)


def test_an_old_python_is_named(rig: Rig, reach: Reach) -> None:
    """A Python before 3.9 is not used; the message names its version and how to choose another."""
    old = rig.directory / "python3.6"
    # the interpreter is this host's, its version is claimed: no cloud image's Python 3.6 can be asked for here
    claim = "import sys; sys.version_info = (3, 6, 8, 'final', 0); code, *sys.argv[1:] = sys.argv[2:]; exec(code)"
    old.write_text(f'#!/bin/sh\nexec /usr/bin/python3 -c "{claim}" "$@"\n')
    old.chmod(0o755)

    failure = the_failure(reach("hub?python=/mnt/python3.6,spoke1"))

    assert failure.code == "python-old"
    assert "/mnt/python3.6 there is Python 3.6.8; 3.9 or newer is needed" in failure.message
    assert "?python=/usr/bin/python3." in str(failure.remedy)


def test_an_agent_that_is_late_is_not_gone(rig: Rig, reach: Reach) -> None:
    """If the deadline passes after the login, the message names it, the option to wait longer, and what to check."""
    slow = rig.directory / "slow_python"
    slow.write_text('#!/bin/sh\n/usr/bin/python3 "$@" | { head -n 1; cat >/dev/null; }\n')
    slow.chmod(0o755)

    failure = the_failure(reach("hub?python=/mnt/slow_python&timeout=3,spoke1"))

    assert failure.code == "slow-agent"
    assert re.search(r"logged in after \d\.\d s, but its agent did not answer within 3 s of the start", failure.message)
    assert "&timeout=12" in str(failure.remedy)
    assert "inner_config hub uptime" in str(failure.remedy)


def test_an_answer_after_the_deadline_does_not_count(rig: Rig) -> None:
    """If the deadline has ended the connection just before the agent's answer is read, the host is late, not lost."""
    spec, _ = hosts.parse("hub,spoke1")
    link = SshLink(spec, Login(str(rig.ssh_config)), time.monotonic(), 15.0, execnet.Group().execmodel)
    link.log_in()
    link.take_over()
    link._deadline = time.monotonic()

    with pytest.raises(EOFError, match="no answer in time"):
        link.read(1)

    with pytest.raises(Unusable, match="its agent did not answer within 15 s of the start"):
        link.established()
    link.close()
    link.close_read()


def test_an_unknown_host_key_is_not_accepted(rig: Rig, reach: Reach, tmp_path: Path) -> None:
    """A host that is not in known_hosts is rejected, and not added."""
    known = tmp_path / "known_hosts"
    known.write_text("\n".join(line for line in _known(rig, "host_key") if not line.startswith("hub")) + "\n")

    failure = the_failure(reach("hub,spoke1", config=_config(rig, tmp_path, known)))

    assert failure.code == "host-key-unknown"
    assert "ssh rejects unknown keys" in failure.message
    assert "hub" not in known.read_text()


def test_a_changed_host_key_is_not_accepted(rig: Rig, reach: Reach, tmp_path: Path) -> None:
    """A host whose key differs from known_hosts is rejected, with the fingerprint of its key."""
    known = tmp_path / "known_hosts"
    others = [line for line in _known(rig, "host_key") if not line.startswith("hub")]
    wrong = [line for line in _known(rig, "other_key") if line.startswith("hub")]
    known.write_text("\n".join(others + wrong) + "\n")

    failure = the_failure(reach("hub,spoke1", config=_config(rig, tmp_path, known)))

    assert failure.code == "host-key-changed"
    assert "SHA256:" in failure.message
    assert f"ssh-keygen -R hub -f {known}" in str(failure.remedy)


def test_one_deadline_for_all(rig: Rig, reach: Reach) -> None:
    """Hosts that do not answer cost one deadline together, are all named, and do not keep the others."""
    lost = ["10.0.0.98", "10.0.0.99"]
    with contextlib.ExitStack() as stack:
        for address in lost:  # neighbours that are known and not there: what is sent to them is lost
            change = {"device": "vcn", "to": address}
            there = neigh_add(**change, lladdr="02:00:00:00:00:99")
            stack.enter_context(rig.lab.fabric.changed(there, neigh_del(**change)))
        began = time.monotonic()
        connected = reach(f"hub,{lost[0]},{lost[1]},spoke2", timeout=5)
        took = time.monotonic() - began

    assert took < 2 * 5
    assert list(connected.machines) == ["hub", "spoke3"]
    assert connected.machines["spoke3"].call(Agent.hello)
    with pytest.raises(EnvironmentProblem) as failed:
        connected.all()
    assert [failure.code for failure in connected.failures] == ["unreachable"] * 2
    assert "2 of 4 hosts cannot be used" in str(failed.value)
    for address in lost:
        assert f"{address}: no connection: " in str(failed.value)
    assert "TCP port 22" in str(failed.value)


def test_two_names_of_one_machine(rig: Rig, reach: Reach) -> None:
    """One machine under two names is no overlay: it is detected, and every connection is closed."""
    with pytest.raises(UsageProblem, match=r"hub and 10\.0\.0\.197 are the same machine"):
        reach(f"hub,spoke1,{rig.hosts['hub'].address}")


def test_no_ssh_here(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an ssh client on this machine, the message names the package to install."""
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(EnvironmentProblem, match="apt-get install openssh-client"):
        ssh.reach(hosts.parse(rig.specs)).all()


def _known(rig: Rig, key: str) -> list[str]:
    public = " ".join((rig.directory / f"{key}.pub").read_text().split()[:2])
    return [f"{name} {public}" for name in rig.hosts]


def _config(rig: Rig, directory: Path, known: Path) -> Path:
    config = directory / "config"
    config.write_text(rig.inner_config.read_text().replace(str(rig.directory / "known_hosts"), str(known)))
    return config
