"""What no bundle holds: passwords, keys and where they are, the options of ssh."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from lab.diagnose.bundle import Bundle, case_of, line

GONE = "[removed]"
WORD = r"[^\s\"'&<>\\,;]+"
SECRETS = (
    (re.compile(r"(://[^/\s:@\"'\\]*):[^@/\s\"'\\]+@"), rf"\1:{GONE}@"),
    (re.compile(rf"(--ssh-(?:config|identity-file)(?:=|\s+)|\bssh_(?:config|identity_file)=){WORD}"), rf"\1{GONE}"),
    (re.compile(rf"(?i)(\b[\w-]*(?:password|passwd|passphrase|secret|token|api_?key)\s*[=:]\s*){WORD}"), rf"\1{GONE}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
)
SSH = re.compile(r"\b(?:ssh|scp|sftp)\s[^\n\"'\\]*")
OPTION = re.compile(rf"(\s-[iFo]\s*){WORD}")
"""The options of ssh that name files, or set anything."""


def cleaned(text: str) -> str:
    """A text without what looks like a secret."""
    for pattern, put in SECRETS:
        text = pattern.sub(put, text)
    return SSH.sub(lambda command: OPTION.sub(rf"\1{GONE}", command[0]), text)


def without_secrets(bundle: Bundle) -> Bundle:
    """A bundle in whose texts nothing is secret, whatever a failure's message or a firewall's rule quotes."""
    return replace(
        bundle,
        cases=tuple(case_of(cleaned(line(case))) for case in bundle.cases),
        results=json.loads(cleaned(json.dumps(bundle.results))),
        junit=cleaned(bundle.junit),
    )
