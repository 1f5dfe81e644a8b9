"""
Loads kernel modules inside a guest.  Stands alone: the guest's first process and the agent use it, and the kernel
itself calls it as its `modprobe` (neither kmod nor /lib/modules need exist on the host).

Standard library alone, Python 3.9 or newer.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

DIRECTORY = "OVERCAST_GUEST_MODULES"
"""The environment variable that names the directory of the running kernel's modules."""
PROGRAMS = "OVERCAST_GUEST_PROGRAMS"
"""The environment variable that names the directory of programs which a guest has in the place of the host's."""

_FINIT_MODULE = {"x86_64": 313, "i686": 350, "i386": 350}
_DELETE_MODULE = {"x86_64": 176, "i686": 129, "i386": 129, "aarch64": 106}
_COMPRESSED = 4  # MODULE_INIT_COMPRESSED_FILE: the kernel unpacks .ko.xz, .ko.zst and .ko.gz


def load(names: list[str] | tuple[str, ...], directory: str | None = None) -> dict[str, str]:
    """
    Load the modules `names` with all they depend on; returns what could not be loaded, as name → reason.

    A module that is built in or loaded already is no error; one that this kernel does not have is reported.
    """
    root = directory or os.environ.get(DIRECTORY, "")
    failures: dict[str, str] = {}
    wanted = [name.replace("-", "_") for name in names]
    wanted = [name for name in wanted if not _present(name)]
    if not wanted:
        return failures
    try:
        with open(os.path.join(root, "modules.dep")) as index:
            lines = index.read().splitlines()
    except OSError as error:
        return dict.fromkeys(wanted, f"no module index ({error})")
    paths = {_name(line.partition(":")[0]): line for line in lines}
    for name in wanted:
        if name not in paths:
            if not _built_in(name, root):
                failures[name] = "this kernel does not have it"
            continue
        path, _, needs = paths[name].partition(":")
        for part in [*reversed(needs.split()), path]:
            if _present(_name(part)):
                continue
            reason = _insert(os.path.join(root, part))
            if reason is not None:
                failures[name] = f"{part}: {reason}"
                break
    return failures


def unload(names: list[str] | tuple[str, ...]) -> None:
    """Remove modules, delete_module(2); OSError when the kernel keeps one (EWOULDBLOCK: it is in use)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name in names:
        if libc.syscall(_DELETE_MODULE.get(os.uname().machine, -1), name.encode(), os.O_NONBLOCK):
            number = ctypes.get_errno()
            raise OSError(number, f"rmmod {name}: {os.strerror(number)}")


def loaded() -> dict[str, str]:
    """The loaded modules, and the users of each (/proc/modules)."""
    try:
        with open("/proc/modules") as file:
            lines = [line.split() for line in file]
    except FileNotFoundError:  # a kernel without modules
        return {}
    return {name: "" if count == "0" else by.strip(",-") or f"{count} uses" for name, _, count, by, *_ in lines}


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def _present(name: str) -> bool:
    """Loaded, or built in with parameters; the initial state shows here too, but finit_module answers for that."""
    return os.path.exists(f"/sys/module/{name}")


def _built_in(name: str, root: str) -> bool:
    try:
        with open(os.path.join(root, "modules.builtin")) as index:
            return name in {_name(line) for line in index.read().splitlines()}
    except OSError:
        return False


def _insert(path: str) -> str | None:
    """finit_module(2), for which the C library has no function; the reason if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _FINIT_MODULE.get(os.uname().machine)
    if number is None:
        return f"no system call number known for {os.uname().machine}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return str(error)
    try:
        flags = 0 if path.endswith(".ko") else _COMPRESSED
        if libc.syscall(number, descriptor, b"", flags) and ctypes.get_errno() != errno.EEXIST:
            return os.strerror(ctypes.get_errno())
    finally:
        os.close(descriptor)
    return None


def state(name: str, directory: str) -> str:
    """
    What the kernel whose modules lie there has of one: `present` (loaded, or built in), `loadable`, `missing`.

    `unlisted`: not loaded, and there is no list of what could be.
    """
    if _present(name) or _built_in(name, directory):
        return "present"
    try:
        with open(os.path.join(directory, "modules.dep")) as index:
            return "loadable" if name in {_name(line.partition(":")[0]) for line in index} else "missing"
    except OSError:
        return "unlisted" if os.path.exists("/proc/modules") else "missing"


def resolve(alias: str, directory: str) -> list[str]:
    """The modules that answer to `alias` (a name as the kernel requests it, such as rtnl-link-dummy)."""
    # The aliases of hardware have wildcards; nothing in a guest needs those.
    wanted = {f"alias {spelling} " for spelling in (alias, alias.replace("-", "_"), alias.replace("_", "-"))}
    try:
        with open(os.path.join(directory, "modules.alias")) as index:
            found = [line.split()[2] for line in index if any(line.startswith(start) for start in wanted)]
    except OSError:
        found = []
    return found or [alias]


def needed(alias: str, directory: str) -> list[str]:
    """The modules that an alias stands for, each before those that it needs; without those that are built in."""
    try:
        with open(os.path.join(directory, "modules.dep")) as index:
            listed = [line.partition(":") for line in index]
    except OSError:
        return []
    needs = {_name(path): [_name(part) for part in parts.split()] for path, _, parts in listed}
    return [part for name in resolve(alias, directory) if name in needs for part in (name, *needs[name])]


def main(arguments: list[str]) -> int:
    """
    What the kernel runs to have a module (DIRECTORY -q -- ALIAS), and who types `modprobe`.

    Options are those of modprobe(8) that matter here: -r removes, -q is silent; parameters are not taken.
    """
    directory, *words = arguments
    options = {word for word in words if word.startswith("-")}
    names = [word for word in words if not word.startswith("-") and "=" not in word]
    failures: dict[str, str] = {}
    for name in names:
        if options & {"-r", "--remove"}:
            try:
                unload([name])
            except OSError as error:
                failures[name] = str(error.strerror)
        else:
            failures.update(load(resolve(name, directory), directory))
    if not options & {"-q", "--quiet"}:
        sys.stderr.writelines(f"modprobe: {name}: {reason}\n" for name, reason in failures.items())
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
