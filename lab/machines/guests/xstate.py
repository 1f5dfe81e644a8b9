"""
Guest kernels on processors with AMX (Intel Xeon from 2023 on): their vector registers need more room than a
User-Mode Linux kernel before 6.13 has, so that its first process ends with SIGSEGV.

Such a kernel is started with a small library, `xstate.c`, compiled once in a run (0.1 s), without a file
on any disk.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from lab.errors import EnvironmentProblem

_SOURCE = Path(__file__).resolve().with_suffix(".c")
_FLAG = re.compile(r"^flags\s*:.*\bamx_tile\b", re.MULTILINE)


def needed() -> bool:
    """Whether this processor has more registers than such a kernel has room for (a newer one takes no harm)."""
    return _FLAG.search(Path("/proc/cpuinfo").read_text()) is not None


def missing() -> EnvironmentProblem | None:
    """None if the library can be made, else what is missing, with the command that brings it."""
    if not needed() or shutil.which("gcc"):
        return None
    return EnvironmentProblem(
        "on this processor (AMX) a guest kernel requires gcc, which is not installed",
        remedy="sudo apt-get install gcc",
    )


@functools.cache
def library() -> int:
    """A descriptor of the library, which stays open while this process runs: a guest's LD_PRELOAD names it."""
    made = os.memfd_create("xstate")
    command = ["gcc", "-pipe", "-shared", "-nostdlib", "-fPIC", "-O2", "-o", f"/proc/self/fd/{made}", str(_SOURCE)]
    try:
        compiled = subprocess.run(command, pass_fds=[made], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if compiled.returncode:
            raise EnvironmentProblem(
                f"gcc cannot compile {_SOURCE}: {(compiled.stderr.strip().splitlines() or ['no message'])[-1]}",
                remedy="sudo apt-get install --reinstall gcc binutils",
            )
    except BaseException:
        os.close(made)
        raise
    return made
