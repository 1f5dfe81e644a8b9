"""
Kernel parameters and counters of the stack that the thread is in (sysctl(8), proc(5)).

/proc/sys/net shows the stack of the task that opens it, /proc/thread-self/net the stack of the thread.
"""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Sequence

THREAD_NET = "/proc/thread-self/net"
MOST_LINES = 1000


def _path(name: str) -> str:
    # a device name may hold dots; sysctl(8) writes them as slashes
    return "/proc/sys/" + name.replace(".", "\0").replace("/", ".").replace("\0", "/")


def read_sysctl(name: str) -> str:
    """A parameter's value, without the newline."""
    # a file object makes seven system calls of it, which cost a guest 20 us each
    try:
        descriptor = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as missing:
        raise FileNotFoundError(missing.errno, f"{name}: {missing.strerror}") from None
    try:
        return os.read(descriptor, mmap.PAGESIZE).decode().strip()
    finally:
        os.close(descriptor)


class SysctlFiles:
    """Parameters of one stack that are read again and again: with their files kept open, one system call each."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def values(self, names: Sequence[str]) -> list[bytes]:
        """Each parameter that this kernel has, as NAME=VALUE; called inside the stack."""
        return [name.encode() + b"=" + value for name in names if (value := self._value(name)) is not None]

    def _value(self, name: str) -> bytes | None:
        try:
            if name not in self._open:
                self._open[name] = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._open[name], mmap.PAGESIZE, 0).strip()
        except FileNotFoundError:  # this kernel has none, or has it no more: its module is gone
            if name in self._open:
                os.close(self._open.pop(name))
            return None

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def write_sysctl(name: str, value: str) -> str:
    """Sets a parameter and returns what it was."""
    before = read_sysctl(name)
    with open(_path(name), "w") as file:
        file.write(str(value))
    return before


def counters() -> dict[str, int]:
    """
    SNMP and extended counters under nstat's names: `IpInReceives`, `TcpExtIPReversePathFilter`.

    Those of tracked connections have the names of /proc/net/stat/nf_conntrack: `Conntrack:drop`.
    """
    found: dict[str, int] = {}
    for name in ("snmp", "netstat"):
        with open(f"{THREAD_NET}/{name}") as file:
            lines = file.read().splitlines()
        for heads, values in zip(lines[::2], lines[1::2]):
            group, _, names = heads.partition(":")
            for key, value in zip(names.split(), values.split()[1:]):
                found[group + key] = int(value)
    for line in (read_net("snmp6") + read_net("xfrm_stat")).splitlines():
        key, value = line.split()
        found[key] = int(value)
    tracked = [line.split() for line in read_net("stat/nf_conntrack").splitlines()]
    for head, *processors in zip(*tracked):
        found[f"Conntrack:{head}"] = sum(int(value, 16) for value in processors)
    return found


def read_net(name: str, words: Sequence[str] | None = None) -> str:
    """
    A file of /proc/net as text, `igmp` or `snmp` for example; empty when this kernel has none.

    `words`: only its first MOST_LINES lines that hold any of them, as of a table of connections that may be long.
    """
    path = f"{THREAD_NET}/{name}"
    if not os.path.exists(path):
        return ""
    with open(path, errors="replace") as file:
        if words is None:
            return file.read()
        found = (line for line in file if any(word in line for word in words))
        return "".join(itertools.islice(found, MOST_LINES))
