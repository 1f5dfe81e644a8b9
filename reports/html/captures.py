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


def name(nodeid: str) -> str:
    """Return the name of a test's file: readable, and its own."""
    readable = re.sub(r"[^\w.=-]+", "_", nodeid.rpartition("/")[2])[:LONGEST]
    return f"{readable}-{zlib.crc32(nodeid.encode()):08x}.pcapng"


def keep(config: pytest.Config, nodeid: str, content: bytes) -> None:
    """Write the frames of a test; of several labs, those of the first.  A full disk costs them alone."""
    folder = config.stash.get(PLACE, None)
    if folder is None:
        return
    path = folder / name(nodeid)
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        if path.exists() or sum(1 for _ in folder.iterdir()) >= MOST:
            return
        try:
            path.write_bytes(content)
        except OSError:
            path.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove the files of an earlier run, and the folder when nothing else is in it."""
    for path in folder.glob("*.pcapng"):
        path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
