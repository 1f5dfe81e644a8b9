"""Gives what was written under sudo to the user who called it, and turns a refused write into one message."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path


def invoking_user(environ: Mapping[str, str], effective_uid: int) -> tuple[int, int] | None:
    """Return the user and group that called sudo, or None without sudo."""
    user, group = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if effective_uid != 0 or not user.isdigit() or not group.isdigit() or user == "0":
        return None
    return int(user), int(group)


def hand_over(paths: Iterable[Path], owner: tuple[int, int] | None) -> None:
    """
    Give the paths, and what is in them, to the owner.

    Only what belongs to root is changed, and links are never followed: they may lead anywhere.  A file system that
    keeps no owners refuses, which does no harm.
    """
    if owner is None:
        return
    for path in paths:
        for entry in _entries(path):
            with contextlib.suppress(OSError):
                if entry.lstat().st_uid == 0:
                    os.chown(entry, *owner, follow_symlinks=False)


def _entries(path: Path) -> Iterator[Path]:
    yield path
    for folder, folders, files in os.walk(path, followlinks=False):
        for name in (*folders, *files):
            yield Path(folder, name)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there complete or not at all; raises OSError and leaves no part behind."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def refusal(directory: Path, error: OSError, missing: Sequence[str] = ()) -> str:
    """Return the one message about results that cannot be written, and which of them are missing for it."""
    which = f" (missing: {', '.join(missing)})" if missing else ""
    fix = "choose a folder" if directory.is_file() else "free space or allow writing there, or choose another folder"
    return (
        f"the results cannot be written to {directory}: {error.strerror or error}{which}\n  fix: {fix}: --reports=DIR"
    )
