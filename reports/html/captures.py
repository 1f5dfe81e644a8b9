"""
The frames of failed tests as files beside the page, which links them: reports/captures/*.pcapng.

    wireshark reports/captures/NAME.pcapng      tcpdump -r reports/captures/NAME.pcapng
"""

from __future__ import annotations

import contextlib
import re
import zlib
from pathlib import Path

import pytest

FOLDER = "captures"
MOST = 50
"""Files of a process: failures without a known cause each have one."""
LONGEST = 80
PLACE = pytest.StashKey[Path]()
"""Where this process keeps them; not set where results are not written."""
KEPT = pytest.StashKey[set[str]]()
"""The names of those that this process has written."""


def name(nodeid: str) -> str:
    """Return the name of a test's file: readable, and its own."""
    readable = re.sub(r"[^\w.=-]+", "_", nodeid.rpartition("/")[2])[:LONGEST]
    return f"{readable}-{zlib.crc32(nodeid.encode()):08x}.pcapng"


def keep(config: pytest.Config, nodeid: str, content: bytes) -> None:
    """Write the frames of a test; of several labs, those of the first.  A full disk costs them alone."""
    folder = config.stash.get(PLACE, None)
    if folder is None:
        return
    kept = config.stash.setdefault(KEPT, set())
    path = folder / name(nodeid)
    if path.name in kept or len(kept) >= MOST:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        try:
            path.write_bytes(content)  # in place of what an earlier run has left under this name
            kept.add(path.name)
        except OSError:
            path.unlink(missing_ok=True)


def files(folder: Path) -> list[Path]:
    """Return the files of a run."""
    return list(folder.glob("*.pcapng"))


def clear(folder: Path) -> None:
    """Remove the files of a run, and the folder when nothing else is in it."""
    for path in files(folder):
        path.unlink()
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove the folder when nothing is in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()
