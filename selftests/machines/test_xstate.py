"""
A guest's registers keep their values on a processor whose register area is larger than its kernel's.

    guest kernel ── ptrace: 576 octets of the area ──> xstate's library ── all of it ──> the host
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.errors import EnvironmentProblem
from lab.machines.guests import xstate

TRACER = """
import ctypes, os, signal

libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
TRACEME, KILL, SETOPTIONS, GETREGSET, SETREGSET, XSTATE = 0, 8, 0x4200, 0x4204, 0x4205, 0x202

class Piece(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]

child = os.fork()
if child == 0:
    libc.ptrace(TRACEME, 0, 0, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(child, 0)
assert libc.ptrace(SETOPTIONS, child, 0, 0x100000) == 0  # EXITKILL: data is a number, not an address
area = ctypes.create_string_buffer(576)
part = Piece(ctypes.addressof(area), len(area))
got = libc.ptrace(GETREGSET, child, XSTATE, ctypes.byref(part))
length, part.length = part.length, len(area)
area[160:176] = b"sixteen octets.."  # XMM0
put = libc.ptrace(SETREGSET, child, XSTATE, ctypes.byref(part))
ctypes.memset(area, 0, len(area))
libc.ptrace(GETREGSET, child, XSTATE, ctypes.byref(part))
os.kill(child, signal.SIGKILL)
print(got, length, put, area[160:176] == b"sixteen octets..")
"""

COMPILED = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here: sudo apt-get install gcc")


def traced(library: bool) -> list[str]:
    """What a tracer gets, with xstate's library and without."""
    made = xstate.library()
    loaded = {"LD_PRELOAD": f"/proc/self/fd/{made}"} if library else {}
    done = subprocess.run(
        [sys.executable, "-c", TRACER],
        env=loaded,
        pass_fds=[made],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.split()


@COMPILED
def test_a_part_of_the_registers_can_be_set() -> None:
    """A kernel with room for a part of the area sets that part; the host alone rejects it."""
    assert traced(library=False)[2] == "-1"
    assert traced(library=True) == ["0", "576", "0", "True"]


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor needs the library and there is no gcc, the command that brings it is given."""
    monkeypatch.setattr(xstate, "needed", lambda: True)
    monkeypatch.setenv("PATH", "/nowhere")

    lack = xstate.missing()

    assert lack is not None
    assert "requires gcc" in lack.message
    assert lack.remedy == "sudo apt-get install gcc"


@COMPILED
def test_a_library_that_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message of gcc about a source that it cannot read is quoted."""
    monkeypatch.setattr(xstate, "_SOURCE", tmp_path / "absent.c")
    xstate.library.cache_clear()

    with pytest.raises(EnvironmentProblem, match="gcc cannot compile") as problem:
        xstate.library()

    assert problem.value.remedy == "sudo apt-get install --reinstall gcc binutils"
