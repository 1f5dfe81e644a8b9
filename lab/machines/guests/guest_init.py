"""
The first process of a guest machine: makes the guest usable, then serves execnet on its serial line.

Started by the guest's kernel as `python -S -E -s guest_init.py key=HEX ...`; each value is a list of strings, joined
by NUL and written in hexadecimal, so that no path can upset the kernel's command line.  Whatever goes wrong is written
to the console, which the host quotes, and ends the guest; the end of the line ends it too.

Stands alone: standard library, execnet's worker half, `credit` and the agent's `modules`; Python 3.9 or newer.
No process is spawned: a spawn costs 50 to 200 ms here.
"""

# pathlib costs a new guest 30 ms.
# ruff: noqa: PTH102, PTH103, PTH112, PTH115, PTH118, PTH211

from __future__ import annotations

import ctypes
import os
import struct
import sys
import termios
import traceback
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

libc = ctypes.CDLL(None, use_errno=True)

MS_BIND = 4096
POWER_OFF = 0x4321FEDC
PROGRAMS = "/dev/overcast"
"""The guest's own programs: nothing is ever mounted over this, as programs in nodes have it over /run."""


def power_off() -> None:
    """End the guest at once; nothing in it is worth saving."""
    libc.reboot(ctypes.c_int(POWER_OFF))
    while True:  # the first process must not return, even if the kernel refuses
        libc.pause()


def say(text: str) -> None:
    """Write to the console, which is the log on the host."""
    os.write(2, f"guest: {text}\n".encode())


def parse(arguments: list[str]) -> dict[str, list[str]]:
    """The settings.  Others' arguments pass by: the kernel appends `console=tty0`."""
    settings = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.startswith("oc."):
            text = bytes.fromhex(value).decode()
            settings[key[3:]] = text.split("\0") if text else []
    return settings


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount, telling the console if it fails."""
    if libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None):
        say(f"cannot mount {target}: {os.strerror(ctypes.get_errno())}")


def mount_all(settings: dict[str, list[str]]) -> None:
    """The host's files below /, and the guest's own where something is written."""
    if not os.path.ismount("/dev"):
        mount("devtmpfs", "/dev", "devtmpfs")
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    mount("tmpfs", "/run", "tmpfs", options="mode=755")
    for directory in ("/dev/pts", "/dev/shm", "/run/netns"):
        os.makedirs(directory, exist_ok=True)
    mount("devpts", "/dev/pts", "devpts", options="newinstance,ptmxmode=0666")
    mount("tmpfs", "/dev/shm", "tmpfs")
    # /tmp may hold the very checkout or interpreter that runs.
    used = [*settings["path"], sys.executable, __file__]
    if not any(os.path.realpath(path).startswith("/tmp/") for path in used):
        mount("tmpfs", "/tmp", "tmpfs")
    libc.sethostname(b"guest", 5)
    os.environ.update(
        PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        HOME="/root",
        LANG="C.UTF-8",
        TMPDIR="/dev/shm",
    )


def widen_tables() -> None:
    """Room for a lab of many hosts in what all namespaces share: neighbours, and frames that were received."""
    sizes = {"core/netdev_max_backlog": 65536}
    sizes.update({f"ipv4/neigh/default/gc_thresh{level}": 16384 << (level - 1) for level in (3, 2, 1)})
    for name, entries in sizes.items():
        with open(f"/proc/sys/net/{name}", "w") as setting:
            setting.write(str(entries))


def arrange_modules(settings: dict[str, list[str]]) -> None:
    """Load what every lab needs, and let the kernel find the rest by itself, now that no mount hides it."""
    from lab.agent import modules

    release = os.uname().release
    directory = os.path.join(settings["modules"][0], release)
    if not os.path.isdir(directory):
        say(f"no modules of kernel {release} in {settings['modules'][0]}")
        return
    os.environ[modules.DIRECTORY] = directory
    for name, reason in modules.load(settings["load"], directory).items():
        say(f"module {name}: {reason}")
    if os.path.isdir("/lib/modules"):
        mount("tmpfs", "/lib/modules", "tmpfs")
        os.mkdir(f"/lib/modules/{release}")
        mount(directory, f"/lib/modules/{release}", "none", MS_BIND)
        if os.access("/sbin/modprobe", os.X_OK):
            return
    # The host lacks kmod, or the place where it looks: the kernel calls our own loader (0.15 s a call), as users may.
    os.mkdir(PROGRAMS)
    os.environ[modules.PROGRAMS] = PROGRAMS
    helper = f"{PROGRAMS}/modprobe"
    with open(os.open(helper, os.O_WRONLY | os.O_CREAT, 0o755), "w") as script:
        words = (sys.executable, "-S", "-E", "-s", modules.__file__, directory)
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        script.write(f'#!/bin/sh\nexec {quoted} "$@"\n')
    with open("/proc/sys/kernel/modprobe", "w") as setting:
        setting.write(helper)


def choose_legacy_iptables() -> None:
    """
    `iptables` is the legacy one here, as after update-alternatives(1): this kernel has no nftables for IP.

    On the host it most often is the other one, and a user who types it, or a test, would get its error.
    """
    alternatives, programs = "/etc/alternatives", "/usr/sbin"
    if not os.access(f"{programs}/iptables-legacy", os.X_OK) or not os.path.isdir(alternatives):
        return
    with os.scandir(alternatives) as entries:
        links = {entry.name: os.readlink(entry.path) for entry in entries if entry.is_symlink()}
    mount("tmpfs", alternatives, "tmpfs")
    for name, target in links.items():
        program, separator, rest = name.partition("-")
        legacy = f"{programs}/{program}-legacy{separator}{rest}"
        if program in ("iptables", "ip6tables") and os.access(legacy, os.X_OK):
            target = legacy
        os.symlink(target, f"{alternatives}/{name}")


def open_raw(device: str) -> int:
    """A serial line without echo, signals or translation."""
    line = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    mode = termios.tcgetattr(line)
    control = mode[2] & ~(termios.CSIZE | termios.PARENB)
    mode[:4] = [0, 0, control | termios.CS8 | termios.CREAD | termios.CLOCAL, 0]
    mode[6][termios.VMIN] = 1
    mode[6][termios.VTIME] = 0
    termios.tcsetattr(line, termios.TCSANOW, mode)
    return line


def serve(settings: dict[str, list[str]]) -> None:
    """Answer execnet's messages until the host ends the connection or hangs up."""
    # The worker half of execnet stands alone; the whole package would cost another 0.1 s.
    bare = types.ModuleType("execnet")
    bare.__path__ = settings["execnet"]
    sys.modules["execnet"] = bare
    from execnet import gateway_base

    del sys.modules["execnet"]

    from lab.machines import flow_control

    class Wire(flow_control.CreditWire):
        """The guest's end of the wire; see `wire` for its rules."""

        far = "host"

        def _grants(self) -> bytes:
            return os.read(acks, 4096)

    class GuestGateway(gateway_base.WorkerGateway):
        def _terminate_execution(self) -> None:
            # execnet would wait for what still runs; with this guest all of that is to end.
            power_off()

    line, acks = open_raw("/dev/ttyS0"), open_raw("/dev/ttyS1")
    grain, limit = (int(number) for number in settings["credit"])
    reader = flow_control.GrantingReader(line, lambda count: os.write(acks, struct.pack("<H", count)), grain)
    wire = Wire(gateway_base.get_execmodel("thread"), reader, line, "<I", limit)
    # The marker is not part of the wire: the host reads it before there is any credit to count.
    os.write(line, bytes.fromhex(settings["ready"][0]))
    GuestGateway(io=wire, id="guest", _startcount=2).serve()


def main() -> None:
    """The life of the guest."""
    try:
        settings = parse(sys.argv[1:])
        # A script's directory comes first on its path; there the names of its neighbours would hide others'.
        sys.path[:1] = settings["path"]
        mount_all(settings)
        widen_tables()
        arrange_modules(settings)
        choose_legacy_iptables()
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        serve(settings)
    except BaseException:
        say(traceback.format_exc())
    power_off()


if __name__ == "__main__":
    main()
