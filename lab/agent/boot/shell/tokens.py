"""
A shell's script as tokens: words with their quotes and parameters, operators, here-documents.

Source: POSIX.1-2017, Shell Command Language, 2.2 to 2.7.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lab.agent.boot.shell.tree import ASSIGNED, Piece, Redirection, SyntaxProblem, Word, literal

BLANKS, ENDING = " \t", " \t\n;&|<>()"
OPERATORS = (";;&", "<<-", "&>>", "<<<", ";;", ";&", "&&", "||", "<<", ">>", "<&", ">&", "<>", ">|", "&>")
PARAMETER = re.compile(r"([A-Za-z_]\w*|\d+|[@*#?$!0-])(?:(:?[-+=?])(.*))?", re.DOTALL)


class Token(NamedTuple):
    """A word, or what stands between words."""

    kind: str
    """`word`, `operator`, `newline` or `end`."""
    text: str
    word: Word


class Tokens:
    """A text as tokens, with one of them looked at before."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.waiting: list[Redirection] = []
        self.next: Token | None = None

    def peek(self) -> Token:
        if self.next is None:
            self.next = self._token()
        return self.next

    def take(self) -> Token:
        token, self.next = self.peek(), None
        return token

    def expect(self, text: str) -> None:
        if (token := self.take()).text != text:
            raise SyntaxProblem(f"expected {text}, found {token.text!r}")

    def _token(self) -> Token:
        while self.at < len(self.text) and self.text[self.at] in BLANKS:
            self.at += 1
        if self.at >= len(self.text):
            return Token("end", "", [])
        char = self.text[self.at]
        if char == "#":
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
            return self._token()
        if char == "\n":
            self.at += 1
            self._here_documents()
            return Token("newline", "\n", [])
        for operator in OPERATORS:
            if self.text.startswith(operator, self.at):
                self.at += len(operator)
                return Token("operator", operator, [])
        if char in ";&|<>()":
            self.at += 1
            return Token("operator", char, [])
        start = self.at
        made = self._word()
        return Token("word", self.text[start : self.at], made)

    def _here_documents(self) -> None:
        for one in self.waiting:
            end, lines = "".join(piece.text for piece in one.word), []
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = stop + 1
                line = line.lstrip("\t") if one.operator == "<<-" else line
                if line == end:
                    break
                lines.append(line)
            one.lines.append("\n".join(lines))
        self.waiting = []

    def quoted_word(self) -> Word:
        found: Word = []
        while self.at < len(self.text):
            self._in_quotes(found, "")
        return found

    def _word(self) -> Word:
        found: Word = []
        while self.at < len(self.text) and self.text[self.at] not in ENDING:
            char = self.text[self.at]
            if char == "\\":
                pair = self.text[self.at : self.at + 2]
                found.append(Piece("text", pair[1:], True, pair))
                self.at += 2
            elif char == "'":
                end = self._find("'", self.at + 1)
                found.append(Piece("text", self.text[self.at + 1 : end], True, self.text[self.at : end + 1]))
                self.at = end + 1
            elif char == '"':
                self.at += 1
                found.append(Piece("text", "", True, ""))
                while self.at < len(self.text) and self.text[self.at] != '"':
                    self._in_quotes(found, '"')
                self._find('"', self.at)
                self.at += 1
            elif char in "$`":
                found.append(self._replaced(quoted=False))
            else:
                self._plain(found)
        # bash's arrays
        if self.at < len(self.text) and self.text[self.at] == "(" and ASSIGNED.fullmatch(literal(found) or ""):
            end = self._closing(self.at + 1, "(", ")")
            found.append(Piece("opaque", "", False, self.text[self.at : end + 1]))
            self.at = end + 1
        return found

    def _plain(self, found: Word) -> None:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in ENDING + "\\'\"$`":
            self.at += 1
        part = self.text[start : self.at]
        found.append(Piece("text", part, False, part))

    def _in_quotes(self, found: Word, end: str) -> None:
        char = self.text[self.at]
        if char == "\\" and self.text[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\"):
            found.append(Piece("text", self.text[self.at + 1], True, self.text[self.at : self.at + 2]))
            self.at += 2
        elif char in "$`":
            found.append(self._replaced(quoted=True))
        else:
            start = self.at
            self.at += 1
            while self.at < len(self.text) and self.text[self.at] not in f"\\$`{end}":
                self.at += 1
            part = self.text[start : self.at]
            found.append(Piece("text", part, True, part))

    def _replaced(self, quoted: bool) -> Piece:
        start, rest = self.at, self.text[self.at :]
        if rest.startswith("`"):
            self.at = self._find("`", start + 1) + 1
            return Piece("output", self.text[start + 1 : self.at - 1], quoted, self.text[start : self.at])
        if rest.startswith("$(("):
            self.at = self._closing(start + 2, "(", ")") + 1
            return Piece("opaque", "", quoted, self.text[start : self.at])
        if rest.startswith("$("):
            self.at = self._closing(start + 2, "(", ")") + 1
            return Piece("output", self.text[start + 2 : self.at - 1], quoted, self.text[start : self.at])
        if rest.startswith("${"):
            self.at = self._closing(start + 2, "{", "}") + 1
            inner, source = self.text[start + 2 : self.at - 1], self.text[start : self.at]
            if inner == "#" or not (found := PARAMETER.fullmatch(inner)):
                return Piece("opaque", "", quoted, source)
            return Piece("parameter", found[1], quoted, source, found[2] or "", found[3] or "")
        if named := re.match(r"\$([A-Za-z_]\w*|[\d@*#?$!-])", rest):
            self.at += named.end()
            return Piece("parameter", named[1], quoted, named[0])
        self.at += 1
        # $'...' and $"..." of bash
        return Piece("opaque" if not quoted and rest[1:2] in ("'", '"') else "text", "$", quoted, "$")

    def _find(self, char: str, start: int) -> int:
        if (end := self.text.find(char, start)) < 0:
            raise SyntaxProblem(f"no closing {char}")
        return end

    def _closing(self, start: int, opening: str, closing: str) -> int:
        """Where a bracket ends that was opened before `start`."""
        at, depth = start, 1
        while at < len(self.text):
            char = self.text[at]
            if char == "\\":
                at += 1
            elif char == "'":
                at = self._find("'", at + 1)
            elif char == opening:
                depth += 1
            elif char == closing:
                depth -= 1
                if depth == 0:
                    return at
            at += 1
        raise SyntaxProblem(f"no closing {closing}")


def word(text: str) -> Word:
    """A text as one word, in which parameters are replaced as between double quotes."""
    return Tokens(text).quoted_word()
