"""
The private keys of a login that ssh cannot use without a passphrase: it is not typed during a run, so ssh passes over
such a key without a message unless an agent holds it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PATIENCE = 10.0  # seconds; each program reads files, or queries an agent here
WRONG = "incorrect passphrase"


def locked(login: Sequence[str]) -> list[str]:
    """The files of such keys; `login` is the command that logs in: ssh, its options, the host."""
    program, *words = login
    settings = list(_settings(_printed([program, "-G", *words])))
    agent = dict(settings).get("identityagent", "")
    files = [str(Path(value).expanduser()) for name, value in settings if name == "identityfile"]
    found = [file for file in dict.fromkeys(files) if _has_passphrase(file)]
    if not found or agent == "none":
        return found
    elsewhere = {} if agent in ("", "SSH_AUTH_SOCK") else {"SSH_AUTH_SOCK": str(Path(agent).expanduser())}
    held = {line.split()[1] for line in _printed(["ssh-add", "-l"], elsewhere).splitlines() if len(line.split()) > 2}
    return [file for file in found if _fingerprint(file) not in held]


def _settings(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        yield name, value


def _has_passphrase(file: str) -> bool:
    done = _run(["ssh-keygen", "-y", "-P", "", "-f", file])
    return done is not None and done.returncode != 0 and WRONG in done.stderr


def _fingerprint(file: str) -> str:
    """Of the public key, which the file holds beside the private one, or a file `.pub`; empty without it."""
    words = _printed(["ssh-keygen", "-l", "-f", file]).split()
    return words[1] if len(words) > 1 else ""


def _printed(words: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = _run(words, environment)
    return done.stdout if done is not None and done.returncode == 0 else ""


def _run(words: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str] | None:
    """What a program of OpenSSH printed; None where it is not installed, or waits for something."""
    try:
        return subprocess.run(
            words,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
