"""
What runs in a guest that is to look like a cloud VM: gives it files and an sshd of its own, then obeys.

    the rig --serial line--> this: (verb, argument) -> (worked, answer)     the VM's console, so to speak
    the controller --ssh--> sshd                                            the only way for what is tested

Sent over execnet by `guests_rig`; the guest's root file system is this machine's, read-only, and what can be written is
in its memory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.agent import modules
from lab.machines.guests import guest_init

OWN = "/mnt"
"""Where the files of the VM are that differ from this machine's."""
ACCOUNTS = ("passwd", "shadow", "group", "hosts")


class Guest:
    """Every public method is a verb."""

    def __init__(self) -> None:
        self._log: list[str] = []

    def furnish(self, settings: Mapping[str, Any]) -> None:
        """Name, files, network and sshd of a VM that its cloud has just booted."""
        guest_init.libc.sethostname(settings["name"].encode(), len(settings["name"]))
        # a file system of its own: any other place may be where the Python or the checkout is that runs here
        guest_init.mount("own", OWN, "tmpfs", options="mode=755")
        subprocess.run(["tar", "-xpf", "-", "-C", OWN], input=settings["files"], check=True)
        passwd = Path(OWN, "passwd")
        passwd.write_text(passwd.read_text().replace(":/home/", f":{OWN}/homes/"))
        for account in ACCOUNTS:
            guest_init.mount(f"{OWN}/{account}", f"/etc/{account}", "none", guest_init.MS_BIND)
        self.run(settings["network"])
        self._start_sshd(settings["sshd"])

    def _start_sshd(self, program: str) -> None:
        Path("/run/sshd").mkdir()
        # a login finds the kernel's modules as on a cloud VM, which has them in /lib/modules
        config = Path(OWN, "sshd_config")
        directory = os.environ.get(modules.DIRECTORY, "")
        config.write_text(f"SetEnv {modules.DIRECTORY}={directory}\n{config.read_text()}")
        words = [program, "-D", "-e", "-f", f"{OWN}/sshd_config"]
        sshd = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/")
        assert sshd.stderr is not None
        for line in sshd.stderr:
            self._log.append(line)
            if "Server listening on 0.0.0.0" in line:
                break
        else:
            raise RuntimeError("sshd did not start:\n" + "".join(self._log))
        threading.Thread(target=self._log.extend, args=(sshd.stderr,), daemon=True).start()

    def run(self, script: str) -> str:
        """A shell script's output; RuntimeError, with what it said, when it fails."""
        done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{script}\nexit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def state(self, questions: Sequence[Sequence[str]]) -> dict[str, str]:
        """What the VM's own tools say, by question, and its files and processes."""
        answers = {" ".join(question): _answer(question) for question in questions}
        answers["files"] = "\n".join(_files())
        answers["processes"] = "\n".join(_processes())
        return answers

    def log(self, _: None) -> str:
        """What sshd has said."""
        return "".join(self._log)


def _answer(question: Sequence[str]) -> str:
    done = subprocess.run(question, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr


def _files() -> list[str]:
    """Everything on the file systems that can be written."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = []
    for place in [mount[1] for mount in mounts if mount[2] == "tmpfs"]:
        for folder, folders, files in os.walk(place):
            found += [str(Path(folder, name)) for name in (*folders, *files)]
    return sorted(found)


def _processes() -> list[str]:
    """Command lines; the kernel's threads, which have none, come and go."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    return sorted(command for command in found if command)


def main(channel: Any) -> None:
    """Answers until the rig hangs up."""
    guest = Guest()
    verbs: dict[str, Callable[[Any], Any]] = {name: getattr(guest, name) for name in ("furnish", "run", "state", "log")}
    for verb, argument in channel:
        try:
            channel.send((True, verbs[verb](argument)))
        except Exception as error:
            channel.send((False, f"{type(error).__name__}: {error}"))


if __name__ == "__channelexec__":
    main(channel)  # type: ignore[name-defined]  # noqa: F821  execnet puts it there
