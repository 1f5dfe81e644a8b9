"""
How User-Mode Linux is found and started: a Linux kernel that runs as an ordinary process, without root or KVM.

The file system of the guest is the host's, read-only; its first process is the running Python interpreter itself, so
there is no image to build.  Debian and Ubuntu package it as `user-mode-linux`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import EnvironmentProblem, UsageProblem
from lab.machines.guests import xstate

REMEDY = "sudo apt-get install user-mode-linux"
TOOLS = {"setpriv": "util-linux", "unshare": "util-linux", "taskset": "util-linux", "sh": "dash", "env": "coreutils"}
"""The programs that start a guest, and Debian's packages that have them."""

_NEEDLESS_INITCALLS = (
    *("raid6_select_algo", "raid6_init", "calibrate_xor_blocks"),
    *("init_zswap", "init_jfs_fs", "init_btrfs_fs"),
    *("make_umid_init", "mconsole_init", "mmapper_init", "ubd_init", "ubd_driver_init"),
)
FAST_BOOT = (f"initcall_blacklist={','.join(_NEEDLESS_INITCALLS)}", "pty.legacy_count=0")
"""
Kernel arguments that skip what a network lab has no use for.  Without them the kernel boots in 1.7 s, with them in
0.24 s; benchmarks of RAID checksums are most of the difference.  The last initcalls make UML's control socket and
disks.
"""

_QUIET = ("noreboot", "quiet", "panic=-1")
# UML keeps a directory with its process id and a control socket.  None can be made below a device, so that there is
# none to remove when everything is killed.  (Below a path that does not exist at all, Linux 6.1 panics.)
_NO_DIRECTORY = ("uml_dir=/dev/null/",)
_ROOT = ("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro")

FEWEST = 384  # MiB of memory, for labs of ten spokes and fewer
PER_SPOKE = 16  # MiB more for each spoke beyond them

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Kernel:
    """A User-Mode Linux kernel: the program, and the directory that holds its modules by release."""

    program: Path
    modules: Path

    @classmethod
    def find(cls, program: str | None = None) -> Kernel:
        """The kernel at `program`, by default the one on the PATH (or in /usr/bin, which a bare PATH may lack)."""
        found = program or shutil.which("linux.uml") or "/usr/bin/linux.uml"
        path = Path(found).absolute()
        return cls(path, path.parent.parent / "lib" / "uml" / "modules")

    def missing(self) -> EnvironmentProblem | None:
        """None if the kernel can be started, else what is missing, with the command that brings it."""
        if not self.program.is_file():
            return EnvironmentProblem(f"there is no User-Mode Linux kernel at {self.program}", remedy=REMEDY)
        if not os.access(self.program, os.X_OK):
            found = f"the User-Mode Linux kernel {self.program} is not executable"
            return EnvironmentProblem(found, remedy=f"sudo chmod a+rx {self.program}")
        if not self.modules.is_dir():
            found = f"the modules of the User-Mode Linux kernel are not in {self.modules}"
            return EnvironmentProblem(found, remedy="sudo apt-get install --reinstall user-mode-linux")
        for tool, package in TOOLS.items():
            if shutil.which(tool) is None:
                found = f"the program {tool} of {package} is not on the PATH"
                return EnvironmentProblem(found, remedy=f"sudo apt-get install --reinstall {package}")
        return xstate.missing()


@dataclass(frozen=True)
class Containment:
    """A command that runs another and takes it along when its own parent dies; `end` is the signal to end both."""

    command: tuple[str, ...]
    end: signal.Signals


_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child=KILL")

IN_A_SHELL = Containment(
    (
        *("setpriv", "--pdeathsig", "TERM", "sh", "-c"),
        """trap 'kill -s KILL -- -$! $!; wait $!; exit 137' TERM; "$@" & wait $!; exit $?""",
        "guest",
    ),
    signal.SIGTERM,
)


@functools.cache
def containment() -> Containment:
    """
    What holds the guest's processes together.

    Best, a PID namespace: the kernel ends all of them with the first, whatever they do.  UML must not be that first
    one (its abort would loop), hence a shell.  An ordinary user needs a user namespace around it.  Where neither is
    allowed, as in many containers, a shell outside the guest kills UML's process group; a guest stays only if that
    shell is killed in the same moment as its parent.
    """
    for namespaces in (_PID_NAMESPACE, (*_PID_NAMESPACE, "--user", "--map-current-user")):
        probe = subprocess.run([*namespaces, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if probe.returncode == 0:
            first = ("sh", "-c", '"$@"; exit $?', "guest")
            return Containment(("setpriv", "--pdeathsig", "KILL", *namespaces, *first), signal.SIGKILL)
    return IN_A_SHELL


def kernel_state(pid: int) -> str:
    """
    What the guest's kernel does, a process below `pid`: its state, a letter as proc(5) has it (R: it computes, S: it
    waits), and its processor time in seconds; empty when that cannot be seen.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        while True:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            if "(linux" in name:
                fields = rest.split()
                ticks = int(fields[11]) + int(fields[12])
                return f"state {fields[0]} after {ticks / os.sysconf('SC_CLK_TCK'):.0f} s of processor time"
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return ""


def memory_size(memory: str) -> int:
    """Bytes in a size as the kernel spells it: `256M`."""
    digits, unit = memory[:-1], memory[-1:].upper()
    if not digits.isdecimal() or unit not in _UNITS:
        raise UsageProblem(f"guest memory {memory!r}: expected a number with K, M or G, such as 256M")
    return int(digits) * _UNITS[unit]


def memory_for(spokes: int) -> str:
    """
    The memory of a guest for labs with so many spokes, as far as this machine has it.

    The guest takes of it what it uses.  A run keeps a dozen labs at a time, and 0.75 MiB are measured for each host.
    """
    wanted = (FEWEST + max(0, spokes - 10) * PER_SPOKE) << 20
    with open("/proc/meminfo") as listing:
        (available,) = (int(line.split()[1]) << 10 for line in listing if line.startswith("MemAvailable"))
    here = min(available * 3 // 4, max(_free(directory) for directory in _memory_directories()))
    return f"{max(FEWEST, min(wanted, here) >> 20)}M"


def _memory_directories() -> list[Path]:
    return [Path(name) for name in dict.fromkeys(("/dev/shm", tempfile.gettempdir(), "/var/tmp"))]


def _free(directory: Path) -> int:
    """Bytes that a memory file can have there."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return 0
    usable = not status.f_flag & os.ST_NOEXEC and os.access(directory, os.W_OK)
    return status.f_bavail * status.f_frsize if usable else 0


def memory_directory(size: int) -> Path:
    """
    Where UML's memory file (deleted as soon as it is open) can live: on a file system with `size` bytes free that
    allows mapping for execution.  One in memory is the fastest; containers often limit it to 64 MiB.
    """
    directories = _memory_directories()
    for directory in directories:
        if _free(directory) >= size:
            return directory
    raise EnvironmentProblem(
        f"the guest kernel's memory needs {size >> 20} MiB on a file system without noexec; "
        f"none of {', '.join(map(str, directories))} has it",
        remedy="set TMPDIR to a directory with enough space",
    )


def command(
    kernel: Kernel,
    *,
    memory: str,
    cpu: int,
    lines: Sequence[tuple[int, int]],
    init: Sequence[str],
    registers: int | None = None,
    kernel_arguments: Sequence[str] = FAST_BOOT,
) -> list[str]:
    """
    The command line that boots `kernel` on one CPU (unpinned, its system calls take two to four times as long).

    `lines` are the descriptors (input, output) of ttyS0, ttyS1, ...; the console is standard error; `init` is the
    guest's first process with its arguments, which follow a `--` of the kernel's; `registers` is the descriptor of
    xstate's library where the processor needs it.
    """
    serial = [f"ssl{number}=fd:{source},fd:{sink}" for number, (source, sink) in enumerate(lines)]
    program, *arguments = (_quoted(word) for word in init)
    return [
        *("taskset", "-c", str(cpu)),
        *containment().command,
        *([] if registers is None else ["env", f"LD_PRELOAD=/proc/self/fd/{registers}"]),
        str(kernel.program),
        f"mem={memory}",
        *_ROOT,
        *("con=null", "con0=null,fd:2", "ssl=null"),
        *serial,
        *_QUIET,
        *_NO_DIRECTORY,
        *kernel_arguments,
        f"init={program}",
        "--",
        *arguments,
    ]


def _quoted(word: str) -> str:
    """As the kernel's command line wants it: blanks need double quotes, and a double quote cannot be written."""
    if '"' in word:
        raise EnvironmentProblem(f"a guest kernel cannot start from a path with a double quote in it: {word}")
    return f'"{word}"' if any(character.isspace() for character in word) else word
