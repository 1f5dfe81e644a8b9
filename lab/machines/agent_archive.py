"""
What travels to a live host: the agent, pyroute2's netlink messages and execnet's worker half, as one zip in memory.

The far side imports from it without unpacking (`ssh_init`): no file is made there.  Sources, not bytecode: any Python
from 3.9 on takes them, and compiling them there costs 0.1 s.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lab.machines.base import ROOT

OURS = (
    *("lab/__init__.py", "lab/agent/*.py"),
    *("lab/machines/__init__.py", "lab/machines/credit.py", "lab/machines/ssh_init.py"),
)
PYROUTE2 = ("common.py", "config/*.py", "protocols/*.py", "netlink/*.py", "netlink/rtnl/**/*.py")
"""The messages of route netlink and what they import; the rest of pyroute2 is ten times as much."""

EXECNET = ("gateway_base.py",)


@functools.lru_cache(maxsize=1)
def packed() -> bytes:
    """The zip, some 180 KB; made once per process in 50 ms."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name, source in _modules():
            archive.writestr(name, source)
    return target.getvalue()


def _modules() -> Iterator[tuple[str, bytes]]:
    yield from _found(ROOT, "", OURS)
    # packages whose own __init__ would import all that stays at home
    yield "pyroute2/__init__.py", f"__version__ = {importlib.metadata.version('pyroute2')!r}\n".encode()
    yield "execnet/__init__.py", b""
    yield from _found(_home_of("pyroute2"), "pyroute2/", PYROUTE2)
    yield from _found(_home_of("execnet"), "execnet/", EXECNET)


def _found(home: Path, prefix: str, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for pattern in patterns:
        for path in sorted(home.glob(pattern)):
            yield f"{prefix}{path.relative_to(home)}", path.read_bytes()


def _home_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
