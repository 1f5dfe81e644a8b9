"""
What no report and no bundle has: passwords, keys and where they are, the options of ssh.

    cleaned("ssh://opc:hunter2@hub --ssh-identity-file /home/me/key")
    ssh://opc:[removed]@hub --ssh-identity-file [removed]
"""

from __future__ import annotations

import re

GONE = "[removed]"
WORD = r"[^\s\"'&<>\\,;]+"
SECRETS = (
    (re.compile(r"(://[^/\s:@\"'\\]*):[^@/\s\"'\\]+@"), rf"\1:{GONE}@"),
    (re.compile(r"((?:^|[/,=\s'])[^/@:,=\s'\"\\]+):[^@,/\s'\"\\]+@(?=\w)"), rf"\1:{GONE}@"),
    (re.compile(rf"(--ssh-(?:config|identity-file)(?:=|\s+)|\bssh_(?:config|identity_file)=){WORD}"), rf"\1{GONE}"),
    (re.compile(rf"(?i)(\b[\w-]*(?:password|passwd|passphrase|secret|token|api_?key)\s*[=:]\s*){WORD}"), rf"\1{GONE}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
)
SSH = re.compile(r"\b(?:ssh|scp|sftp)\s[^\n\"'\\]*")
OPTION = re.compile(rf"(\s-[iFo]\s*){WORD}")
"""The options of ssh that name files, or set anything."""


def cleaned(text: str) -> str:
    """Return a text without what looks like a secret."""
    for pattern, put in SECRETS:
        text = pattern.sub(put, text)
    return SSH.sub(lambda command: OPTION.sub(rf"\1{GONE}", command[0]), text)
