"""
Hosts whose overlay is made by what a written configuration is for: systemd-networkd, NetworkManager, ifupdown, a shell.

A host of the rig has its own mount namespace: the folders that its files go to are covered there, so that this
machine's own stay as they are.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from lab.boot.daemons import MANAGED, NETWORKD, PREPARED, packed
from selftests.live.rig import RigHost


def inside(host: RigHost, *words: str) -> list[str]:
    """The command that runs another one on a host, as its root."""
    return ["nsenter", f"--target={host.init}", "--mount", "--net", "--pid", "--uts", "--root", *words]


def shell(host: RigHost, script: str, *, stdin: bytes = b"") -> str:
    """The output of a script on a host; AssertionError when it fails."""
    done = subprocess.run(inside(host, "sh", "-ec", script), input=stdin, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, f"{host.name}: {script}\n{said}"
    return said


def put(host: RigHost, files: Mapping[str, str]) -> None:
    """Puts files where they belong on a host; a file in /etc itself is left out, since that is this machine's."""
    placed = {path: text for path, text in files.items() if PurePosixPath(path).parent != PurePosixPath("/etc")}
    cover(host, placed)
    shell(host, "tar -x -C /", stdin=packed(placed))


def cover(host: RigHost, paths: Iterable[str]) -> None:
    """Gives a host folders of its own for these files."""
    folders = sorted({str(PurePosixPath(path).parent) for path in paths})
    shell(host, "\n".join(f"mount -t tmpfs -o mode=755 own {folder}" for folder in folders))


def installed(*programs: str) -> bool:
    return all(Path(program).exists() for program in programs)


def network_manager(host: RigHost, nic: str) -> None:
    """Starts NetworkManager on a host."""
    shell(host, MANAGED.format(nic=nic))


class Networkd:
    """systemd-networkd of a host; it ends with the host."""

    def __init__(self, host: RigHost) -> None:
        self._host = host
        shell(host, PREPARED)
        self.start()

    def start(self) -> None:
        """Starts it; its output is discarded."""
        self._process = subprocess.Popen(
            inside(self._host, "setpriv", "--pdeathsig", "KILL", NETWORKD),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """Ends it as systemd does."""
        self._process.terminate()
        self._process.wait()


def enable(host: RigHost, *units: str) -> None:
    """Covers the units that this machine has, and enables these, as `systemctl enable` does."""
    wants = "/etc/systemd/system/multi-user.target.wants"
    kept = "mkdir /run/units && cp /etc/systemd/system/*.service /run/units 2>/dev/null || true"
    cover = f"{kept}\nmount -t tmpfs own /etc/systemd/system\ncp /run/units/* /etc/systemd/system 2>/dev/null || true"
    links = "\n".join(f"ln -s ../{unit} {wants}/{unit}" for unit in units)
    shell(
        host,
        f"{cover}\nmkdir {wants}\ntouch {' '.join(f'/etc/systemd/system/{unit}' for unit in units) or wants}\n{links}",
    )
