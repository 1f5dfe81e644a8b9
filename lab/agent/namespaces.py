"""
Network namespaces without names: a node is a file descriptor on a namespace that only this process holds.

When the process dies, however it dies, the kernel drops the last reference and removes the namespace with every
device in it (network_namespaces(7)).  Nothing is ever written below /run/netns.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000  # linux/sched.h
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000  # linux/mount.h
THIS_STACK = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _enter(namespace: int) -> None:
    _call(_libc.setns(namespace, CLONE_NEWNET), "setns")


class Stack:
    """A network stack: the machine's own (`home`), or a private one made here."""

    def __init__(self, name: str, namespace: int) -> None:
        self.name = name
        self.namespace = namespace

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is inside this stack: what it opens belongs there, also after it has left."""
        _enter(self.namespace)
        try:
            yield
        finally:
            _enter(_home())

    def close(self) -> None:
        os.close(self.namespace)


class Home(Stack):
    """The stack that the agent was started in: its threads are there, and need no right to be."""

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        yield


_home_fd: int | None = None


def _home() -> int:
    global _home_fd
    if _home_fd is None:
        _home_fd = os.open(THIS_STACK, os.O_RDONLY | os.O_CLOEXEC)
    return _home_fd


def home() -> Stack:
    """The stack that the agent was started in: the VM's own on a live host."""
    return Home("home", os.dup(_home()))


def create(name: str) -> Stack:
    """A new, empty stack."""
    _home()
    _call(_libc.unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)")
    try:
        return Stack(name, os.open(THIS_STACK, os.O_RDONLY | os.O_CLOEXEC))
    finally:
        _enter(_home())


def enter_for_good(stack: Stack) -> None:
    """The calling thread is in the stack, and in a mount namespace of its own, until it ends."""
    _enter(stack.namespace)
    _call(_libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _call(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate /")


def private_folders() -> None:
    """
    A /run and a /dev/shm of this process's own (its mount namespace is private already): programs that keep locks,
    state or shared memory there, iptables and corosync among them, do not meet those of others, and leave nothing.
    """
    for folder, mode in ((b"/run", b"mode=755"), (b"/dev/shm", b"mode=1777")):
        if os.path.isdir(folder):
            _call(_libc.mount(b"overcast", folder, b"tmpfs", 0, mode), f"mount {folder.decode()}")


def cover(path: str, by: str) -> None:
    """One file lies over another, in the mount namespace of the calling thread."""
    _call(_libc.mount(by.encode(), path.encode(), None, MS_BIND, None), f"mount --bind {by} {path}")
