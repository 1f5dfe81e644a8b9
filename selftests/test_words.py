"""
Words that have proved hard to read are in no text and no name of the project.

    *.py, *.md, lab/**.json -- every line --> no pattern of WORDS

A message is read at three in the morning, by readers most of whom are not native speakers.  A word in backticks is a
quotation; a part of an assignment or a file name (`user=nobody`), and a constant
(`NOBODY`), are not words.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

INSTEAD = {
    "told, tells": "reported, distinguished",
    "says, speaks": "reports, prints, names",
    "hears": "receives",
    "asks": "queries, sends a request",
    "knows": "has, detects",
    "nobody, somebody, everybody, whoever, whom": "no host, another program, every host",
    "mend": "fix",
    "besides, anew": "in addition, again",
    "uninvited, unasked": "unexpected",
    "what carries": "tunnel packets",
    "as it must be": "expected",
    ", and it": "a semicolon, or 'which'; for a contrast: 'but'",
}
"""What to write in place of each pattern; shown with a failure."""

WORDS = re.compile(
    r"(?<![A-Za-z0-9=/.])"
    r"(told|tells|says|speaks|hears|asks|knows|nobody|somebody|everybody|whoever|whom|mend(?:s|ed|ing)?|besides|anew"
    r"|uninvited|unasked|what carries|as it must be)"
    r"(?![A-Za-z0-9=/]|\.\w)|(, and it)\b",
    re.IGNORECASE,
)
QUOTED = re.compile(r"``[^`\n]+``|`[^`\n]+`")

THIS = "selftests/test_words.py"
RELEASED = re.compile(r"^## \[\d.*", re.MULTILINE | re.DOTALL)
"""The part of the changelog about released versions, which is not changed any more."""


def texts() -> list[Path]:
    """Every tracked text that the rule is for."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "lab/*.json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.splitlines() if name != THIS]


def hard_words(line: str) -> list[str]:
    """The words of a line that are to be replaced."""
    return [match[0] for match in WORDS.finditer(QUOTED.sub("", line)) if not match[0].isupper()]


def found(path: Path) -> list[str]:
    """The places of such words in a file."""
    text = path.read_text(encoding="utf-8")
    text = RELEASED.sub("", text) if path.name == "CHANGELOG.md" else text
    return [
        f"{path.relative_to(ROOT)}:{number}: {', '.join(words)}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if (words := hard_words(line))
    ]


def test_texts_are_easy_to_read() -> None:
    """No text and no name has a word of the list."""
    places = [place for path in texts() for place in found(path)]

    advice = [f"write {instead} in place of {word}" for word, instead in INSTEAD.items()]
    assert not places, "\n".join([*places, *advice])


@pytest.mark.parametrize(
    "line",
    [
        "the host asks nobody on gretap1 who has an address",
        "Told apart from what carries the tunnel.",
        "told = lines",
        "def forget_nobody(self) -> None:",
        "A is M, and it is N",
        "the command that mends it",
        "arp-unasked: the host sends no ARP requests",
    ],
)
def test_a_hard_word_is_found(line: str) -> None:
    """Human verbs for software, and idioms, are found in sentences and in names."""
    assert hard_words(line)


@pytest.mark.parametrize(
    "line",
    [
        "the sample `asks-nobody`",
        "user=nobody",
        "NOBODY = 65534",
        "as the user `nobody`",
        "tellable, untold",
        "mender",
    ],
)
def test_a_quotation_is_not_a_word(line: str) -> None:
    """Codes, quotations, values of options and longer words are not found."""
    assert not hard_words(line)
