"""
Live hosts for tests: the nodes of a lab, each with an sshd and with files and processes of its own.

    vcn 10.0.0.1 ──┬── hub 10.0.0.197      sshd, mount, PID and UTS namespaces
                   ├── spoke1 10.0.0.25
                   └── spoke2 10.0.0.131

`ssh_config` names them hub, spoke1, spoke2 for any ssh of this machine: a helper enters the host's network stack, hands
ssh a TCP connection from there, and is gone.  Or ssh itself runs inside the cloud network: `with rig.entered(): ...`.
Needs root, and Debian's openssh-server.  Everything dies with the process that made it, also by SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.agent import namespaces
from lab.laboratory import Lab
from lab.machines.node import Agent

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
PRIVATE = ("/home", "/tmp", "/var/tmp", "/run", "/dev/shm")
"""What a host has for itself alone; where a run could leave files."""

USERS = {
    "opc": "as a cloud image has it: sudo without a password",
    "asked": "sudo with a password",
    "noisy": "its shell prints a greeting",
    "endless": "its shell greets at great length",
    "closed": "its shell is nologin",
    "misled": "as the root of a cloud image: a login prints a hint to use opc",
    "bare": "has no sudo in its path",
    "slow": "its shell reads its input for ever",
}
FIRST_UID = 20000

SSHD_CONFIG = """
HostKey {etc}/host_key
AuthorizedKeysFile {etc}/keys/%u
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
PrintMotd no
PidFile none
MaxStartups {startups}
Match User misled
    ForceCommand echo 'Please login as the user "opc" rather than the user "root".'; echo; exec sleep 1
Match User bare
    SetEnv PATH=/run/bare
"""

SUDOERS = """
Defaults use_pty
root ALL=(ALL) ALL
opc ALL=(root) NOPASSWD: ALL
asked ALL=(root) ALL
"""

START = """
set -e
etc=$1; name=$2
hostname "$name"
for file in passwd shadow group sudoers hosts; do
    if [ -e /etc/$file ]; then mount --bind "$etc/$file" /etc/$file; fi
done
mount --bind "$etc" /mnt
for folder in {private}; do mount -t tmpfs -o mode=755 private $folder; done
chmod 1777 /tmp /var/tmp /dev/shm
mkdir -p /run/sshd /run/bare
ln -s /usr/bin/python3 /run/bare/python3
cp -a /mnt/homes/. /home
{sshd} -D -e -f /mnt/sshd_config &
wait
"""

CONNECT = """
import ctypes, socket, sys
namespace, address, port = sys.argv[1:4]
libc = ctypes.CDLL(None, use_errno=True)
with open(namespace) as stack:
    assert libc.setns(stack.fileno(), 0x40000000) == 0, ctypes.get_errno()
connection = socket.create_connection((address, int(port)))
socket.send_fds(socket.socket(fileno=1), [b"x"], [connection.fileno()])
"""

RELAY = """
import collections, os, select, time
delay = float(sys.argv[4])
ends = {0: connection.fileno(), connection.fileno(): 1}
waiting = collections.deque()
while ends or waiting:
    rest = waiting[0][0] - time.monotonic() if waiting else None
    ready, _, _ = select.select(list(ends), [], [], None if rest is None else max(0, rest))
    for end in ready:
        data = os.read(end, 65536)
        waiting.append((time.monotonic() + delay, ends[end] if data else ends.pop(end), data))
    while waiting and waiting[0][0] <= time.monotonic():
        _, end, data = waiting.popleft()
        if not data:
            os._exit(0)
        while data:
            data = data[os.write(end, data) :]
"""
"""Passes everything on in both directions, each time so many seconds later."""


def missing() -> str | None:
    """Why no rig can be had here, with what brings it; None when it can."""
    if os.geteuid() != 0:
        return "sshd in namespaces needs root: run with sudo"
    if SSHD is None:
        return "there is no sshd: apt-get install openssh-server"
    return None


@dataclass
class RigHost:
    """One host with its sshd."""

    name: str
    address: str
    stack: Path
    """Its network namespace, for nsenter(1)."""
    process: subprocess.Popen[str]
    address_in_stack = "127.0.0.1"
    """Its address there."""
    log: list[str] = field(default_factory=list)
    standing: frozenset[int] = frozenset()
    """The processes that serve `Rig.share_connections`."""

    @property
    def init(self) -> int:
        """The host's first process, as this machine numbers it."""
        return self._below(self.process.pid)[0]

    @staticmethod
    def _below(parent: int) -> list[int]:
        return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def files(self) -> set[str]:
        """Everything in the places where a file could be left."""
        root = f"/proc/{self.init}/root"
        found = []
        for place in (*PRIVATE, "/root", "/etc"):
            for folder, folders, files in os.walk(root + place):
                if place == "/root":  # shared with this machine, whose own programs work there
                    folders[:] = []
                if folder == root + "/run":  # sudo's own records of who was asked for a password
                    folders[:] = [name for name in folders if name != "sudo"]
                found += [f"{folder}/{name}".removeprefix(root) for name in (*folders, *files)]
        return set(found)

    def processes(self) -> dict[int, str]:
        """PID on this machine and command line of the host's processes, but for init, sshd and those `standing`."""
        space = Path(f"/proc/{self.init}/ns/pid").readlink()
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "ns/pid").readlink() == space:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    if int(entry.name) not in {self.init, *self.standing} and "[listener]" not in command:
                        found[int(entry.name)] = command
        return found

    def agents(self) -> list[int]:
        """The Pythons that connections of ours started (with the sudos above them)."""
        return [pid for pid, command in self.processes().items() if "ssh_init" in command]

    def left(self, deadline: float = 5.0) -> dict[int, str]:
        """What still runs after `deadline` seconds, of all that runs now."""
        poller = select.poll()
        open_until_gone = {}
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                open_until_gone[os.pidfd_open(pid)] = pid
        for descriptor in open_until_gone:
            poller.register(descriptor, select.POLLIN)
        until = time.monotonic() + deadline
        while open_until_gone and (rest := until - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(rest * 1000):
                poller.unregister(descriptor)
                del open_until_gone[descriptor]
                os.close(descriptor)
        for descriptor in open_until_gone:
            os.close(descriptor)
        running = self.processes()
        return {pid: running[pid] for pid in open_until_gone.values() if pid in running}


class Rig:
    """The hosts of a lab, reachable by ssh.  `directory` must be empty; its files are the rig's."""

    def __init__(
        self, lab: Lab, directory: Path, startups: str = "50", delays: Mapping[str, float] | None = None
    ) -> None:
        self.lab, self.directory = lab, directory
        self._startups = startups
        """How many may be logging in at once: sshd's MaxStartups."""
        self._delays = delays or {}
        """By how many seconds `ssh_config` delays each way to a host."""
        self._processes: list[subprocess.Popen[str]] = []
        self.controller = Path(lab.fabric.ask(Agent.namespace_path))
        """The cloud network's own stack: from there every host has its address."""
        self.hosts: dict[str, RigHost] = {}
        self._write_files()
        self._start_hosts()
        self.ssh_config = self._config("ssh_config", proxied=True)
        self.inner_config = self._config("inner_config", proxied=False)
        """For an ssh that runs inside `entered`."""

    @property
    def specs(self) -> str:
        """What `--hosts=` takes."""
        return ",".join(self.hosts)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Puts the thread, and what it starts, inside the cloud network."""
        home = os.open(namespaces.THIS_STACK, os.O_RDONLY)
        inside = os.open(self.controller, os.O_RDONLY)
        try:
            namespaces._enter(inside)
            yield
        finally:
            namespaces._enter(home)
            os.close(home)
            os.close(inside)

    def share_connections(self) -> None:
        """All users of `ssh_config` share one connection to each host from now on; it ends with the host."""
        for host in self.hosts.values():
            words = ["ssh", "-F", str(self.ssh_config), "-o", "ControlMaster=yes", "-o", "ControlPersist=yes"]
            null = subprocess.DEVNULL
            subprocess.run([*words, host.name, "true"], check=True, stdin=null, stdout=null, stderr=null)
            host.standing = frozenset(host.processes())

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            assert process.stderr is not None
            process.stderr.close()

    def _start_hosts(self) -> None:
        for name, host in self.lab.hosts.items():
            stack = Path(host.node.ask(Agent.namespace_path))
            self.hosts[name] = RigHost(name, str(host.plan.underlay.ip), stack, self._start(name, stack))
        for rig_host in self.hosts.values():
            self._await_listening(rig_host)

    def _write_files(self) -> None:
        etc = self.directory
        etc.chmod(0o755)  # sshd reads a user's keys as that user
        for name in ("host_key", "user_key", "other_key"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(etc / name)]
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        public = (etc / "user_key.pub").read_text()
        (etc / "keys").mkdir()
        users = {"root": 0, **{name: FIRST_UID + number for number, name in enumerate(USERS)}}
        for name, uid in users.items():
            (etc / "keys" / name).write_text(public)
            home = etc / "homes" / name
            home.mkdir(parents=True)
            os.chown(home, uid, uid)
        _write_greetings(etc / "homes")
        shells = {"closed": shutil.which("nologin", path="/usr/sbin:/sbin") or "/bin/false"}
        lines = [f"{name}:x:{uid}:{uid}::/home/{name}:{shells.get(name, '/bin/bash')}" for name, uid in users.items()]
        system = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("root:")]
        (etc / "passwd").write_text("\n".join([*lines, *system]) + "\n")
        groups = Path("/etc/group").read_text().splitlines()
        (etc / "group").write_text(
            "\n".join([*groups, *(f"{name}:x:{uid}:" for name, uid in users.items() if uid)]) + "\n"
        )
        # a password that nothing matches, and not "!", which would lock the account
        (etc / "shadow").write_text("".join(f"{name}:*:19000:0:99999:7:::\n" for name in [*users, "sshd"]))
        # sudo resolves its own host's name, and the cloud network has no name server
        addresses = {name: host.plan.underlay.ip for name, host in self.lab.hosts.items()}
        hosts = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        (etc / "hosts").write_text("\n".join(hosts) + "\n")
        (etc / "sudoers").write_text(SUDOERS)
        (etc / "sudoers").chmod(0o440)
        (etc / "sshd_config").write_text(SSHD_CONFIG.format(etc="/mnt", startups=self._startups) + _penalties())
        (etc / "connect.py").write_text(CONNECT)
        (etc / "relay.py").write_text(CONNECT.rpartition("\nsocket.send_fds")[0] + RELAY)

    def _start(self, name: str, stack: Path) -> subprocess.Popen[str]:
        script = START.format(private=" ".join(PRIVATE), sshd=SSHD)
        own = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child=KILL", "--mount-proc"]
        words = ["nsenter", f"--net={stack}", "setpriv", "--pdeathsig", "KILL", *own, "sh", "-c", script, "init"]
        process = subprocess.Popen(
            [*words, str(self.directory), name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def _await_listening(self, host: RigHost) -> None:
        assert host.process.stderr is not None
        for line in host.process.stderr:
            host.log.append(line)
            if "Server listening" in line and "0.0.0.0" in line:
                break
        else:
            self.close()
            raise AssertionError(f"the sshd of {host.name} did not start:\n{''.join(host.log)}")
        threading.Thread(target=host.log.extend, args=(host.process.stderr,), daemon=True).start()

    def _config(self, name: str, *, proxied: bool) -> Path:
        key = " ".join((self.directory / "host_key.pub").read_text().split()[:2])
        names = ",".join([*self.hosts, *(host.address for host in self.hosts.values())])
        known = self.directory / "known_hosts"
        known.write_text(f"{names} {key}\n")
        lines = []
        for host in self.hosts.values():
            lines += [
                f"Host {host.name} {host.address}",
                f"    HostName {host.address}",
                f"    HostKeyAlias {host.name}",
            ]
            if proxied:
                python = os.path.realpath(sys.executable)
                delay = self._delays.get(host.name)
                script = self.directory / ("connect.py" if delay is None else "relay.py")
                helper = f"{python} -ISE {script} {host.stack} {host.address_in_stack} %p {delay or ''}"
                lines += [f"    ProxyCommand {helper}", f"    ProxyUseFdpass {'yes' if delay is None else 'no'}"]
        lines += [
            "Host *",
            "    User root",
            f"    IdentityFile {self.directory / 'user_key'}",
            "    IdentitiesOnly yes",
        ]
        lines += [f"    ControlPath {self.directory / '%r-%k'}"] if proxied else []
        lines += [f"    UserKnownHostsFile {known}", "    GlobalKnownHostsFile none", "    IdentityAgent none"]
        path = self.directory / name
        path.write_text("\n".join(lines) + "\n")
        return path


def _write_greetings(homes: Path) -> None:
    greetings = {
        "noisy": "echo Welcome to this machine; printf 'no newline at the end'; echo trouble >&2",
        "endless": "yes 'all work and no play' | head -n 100000",
        "slow": "cat >/dev/null",
    }
    for name, command in greetings.items():
        # bash reads it for the commands of an ssh login too
        (homes / name / ".bashrc").write_text(command + "\n")


def _penalties() -> str:
    """From version 9.8 on, sshd locks out an address after failed logins; these tests fail on purpose."""
    assert SSHD is not None
    said = subprocess.run([SSHD, "-V"], capture_output=True, text=True, check=False).stderr
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    new = version is not None and (int(version[1]), int(version[2])) >= (9, 8)
    return "Match all\n    PerSourcePenalties no\n" if new else ""
