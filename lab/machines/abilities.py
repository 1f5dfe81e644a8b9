"""
What the running kernel can do for a lab, found by doing it in namespaces that are gone when the answer is known.

    probe(["gretap"]) -> Abilities(namespaces=0, captures=0, filters=0, kinds={"gretap": 95})

A forked child makes the namespaces that a lab has, a packet socket, a filter at a port and one link of each kind.
Asking also has the kernel load the module that it keeps for a kind, if it has one.  No program is started and
pyroute2 is not needed: 5 ms.
Sources: rtnetlink(7), namespaces(7), linux/if_link.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import socket
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.agent import modules, prerequisites, rtnl
from lab.agent.rtnl import attribute
from lab.tunnels import KINDS

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000

IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 3, 18, 1, 2
LOOPBACK = 1
PASS = (0x06, 0, 0, 0)  # let everything pass

UNKNOWN = (errno.EOPNOTSUPP, errno.ENOENT, errno.EAFNOSUPPORT)
"""The kernel's answers for a kind of link, of filter, of socket that it has no module for."""

LACKS = re.compile(
    rf"{os.strerror(errno.EOPNOTSUPP)}|Unknown device type|TC classifier not found|Specified qdisc kind is unknown"
)
"""What programs print of a request that the kernel has no code for."""

FILTERS, CAPTURES = "traffic filters (rtnl.clsact, bpf)", "packet sockets"
MODULES = {
    **{kind.name: kind.module for kind in KINDS.values()},
    FILTERS: "sch_ingress cls_bpf",
    CAPTURES: "af_packet",
    "iptables": "ip_tables nf_tables",
    "bond": "bonding",
}
"""The kernel modules that bring what has another name than theirs."""


def remedy(what: str) -> str | None:
    """The command that brings what this kernel lacks; None: it has no such module, and no package is known."""
    names = MODULES.get(what, what).split()
    with contextlib.suppress(OSError):
        if modules.listed(prerequisites.modules_directory()).keys() >= set(names):
            return f"sudo modprobe {'-a ' if len(names) > 1 else ''}{' '.join(names)}"
    return package_with_modules(prerequisites.system(), os.uname().release)


def package_with_modules(system: str, release: str) -> str | None:
    """
    The command that installs the modules which a distribution keeps apart from its kernel; None where it does not.

    `system` is ID and ID_LIKE of os-release(5).
    """
    words = system.split()
    if "ubuntu" in words:
        return f"sudo apt-get install linux-modules-extra-{release}"
    if "debian" in words and "-cloud-" in release:
        return f"sudo apt-get install linux-image-{release.rpartition('-')[2]}   (then boot that kernel)"
    if "rhel" in words or "fedora" in words:
        package = "kernel-uek-modules-extra" if "uek" in release else "kernel-modules-extra"
        return f"sudo dnf install {package}-{release}"
    return None


def lacking(said: str) -> str:
    """What a program printed of a kernel that does not support its request; empty where it failed otherwise."""
    found = LACKS.search(said)
    return found[0] if found else ""


@dataclass(frozen=True)
class Abilities:
    """What was tried, each with the error number that the kernel answered: 0 when it did it."""

    namespaces: int
    captures: int
    """Packet sockets: taps and raw frames."""
    filters: int
    """A classic BPF filter at a device: the policy of the cloud network."""
    kinds: Mapping[str, int]
    """Links, by kind."""

    def named(self) -> list[tuple[str, int]]:
        """All but the namespaces, under the names that messages use."""
        return [*self.kinds.items(), (FILTERS, self.filters), (CAPTURES, self.captures)]


def probe(kinds: Sequence[str]) -> Abilities:
    """Tries everything; where namespaces are refused, so is all the rest, with the same number."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks beside threads; this child only makes system calls and leaves
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, json.dumps(_answers(kinds)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    refused, captures, filters, *links = json.loads(answer) if answer else [errno.EIO] * (3 + len(kinds))
    return Abilities(refused, captures, filters, dict(zip(kinds, links)))


def _answers(kinds: Sequence[str]) -> list[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
    if os.geteuid() != 0:
        wanted |= CLONE_NEWUSER
    if libc.unshare(wanted):
        return [ctypes.get_errno()] * (3 + len(kinds))
    links = [_create(kind, f"try{position}") for position, kind in enumerate(kinds)]
    # a user namespace may be granted without any rights in it (AppArmor's restriction on Ubuntu)
    refused = errno.EPERM if errno.EPERM in links else 0
    return [refused, _capture(), _filter(), *links]


def _create(kind: str, device: str) -> int:
    """One link, with what its kind demands; the kernel's error number."""
    info = attribute(IFLA_INFO_KIND, kind.encode() + b"\0")
    if kind in KINDS:
        info += attribute(IFLA_INFO_DATA, b"".join(attribute(*one) for one in KINDS[kind].least.items()))
    body = bytes(16) + attribute(IFLA_IFNAME, device.encode() + b"\0") + attribute(IFLA_LINKINFO, info)
    return _request(rtnl.NEWLINK, body)


def _capture() -> int:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(rtnl.ETH_P_ALL)).close()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _filter() -> int:
    """A filter of one instruction at the loopback device."""
    program = rtnl.filter_at(LOOPBACK, rtnl.INGRESS, [PASS], "try")
    return _request(rtnl.NEWQDISC, rtnl.clsact(LOOPBACK)) or _request(rtnl.NEWTFILTER, program)


def _request(kind: int, body: bytes) -> int:
    """One request of route netlink; the kernel's error number, 0 when it did it."""
    with contextlib.closing(rtnl.Transport()) as transport:
        try:
            transport.queue_raw(kind, rtnl.CREATE, body, "")
            transport.flush()
        except OSError as error:
            return error.errno or errno.EIO
    return 0
