"""
The grammar of a shell's script.

    ip link show $D || ip link add $D  ──▶  AndOr([("", Pipeline(...)), ("||", Pipeline(...))])

Source: POSIX.1-2017, Shell Command Language, 2.9 and 2.10; with `[[`, `((` and `function` of bash.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from lab.agent.boot.shell.tokens import Tokens
from lab.agent.boot.shell.tree import (
    NAME,
    AndOr,
    CaseClause,
    For,
    Function,
    Group,
    If,
    Loop,
    Piece,
    Pipeline,
    Redirection,
    Simple,
    SyntaxProblem,
    Word,
    literal,
)

REDIRECTIONS = ("<", ">", "<<", "<<-", ">>", "<&", ">&", "<>", ">|", "&>", "&>>", "<<<")
CLOSING = ("then", "else", "elif", "fi", "do", "done", "esac", "}")


@functools.lru_cache(maxsize=128)
def parsed(text: str) -> list[AndOr]:
    """The lists of a script; SyntaxProblem where it is not understood."""
    return _Parser(text.replace("\\\n", "")).whole()


class _Parser(Tokens):
    def whole(self) -> list[AndOr]:
        found = self.lists()
        if self.peek().kind != "end":
            raise SyntaxProblem(self.peek().text)
        return found

    def lists(self, *closing: str) -> list[AndOr]:
        """Lists up to a word that closes what they are in."""
        found: list[AndOr] = []
        while True:
            self._newlines()
            token = self.peek()
            if token.kind == "end" or token.text in (*closing, ")", ";;", ";&", ";;&"):
                return found
            if token.kind == "word" and literal(token.word) in CLOSING:
                return found
            found.append(self._and_or())

    def _newlines(self) -> None:
        while self.peek().kind == "newline" or self.peek().text == ";":
            self.take()

    def _and_or(self) -> AndOr:
        parts = [("", self._pipeline())]
        while self.peek().text in ("&&", "||") and self.peek().kind == "operator":
            operator = self.take().text
            self._newlines()
            parts.append((operator, self._pipeline()))
        background = self.peek().text == "&"
        if background or self.peek().text == ";":
            self.take()
        elif self.peek().kind == "word":
            raise SyntaxProblem(self.peek().text)
        return AndOr(parts, background)

    def _pipeline(self) -> Pipeline:
        negated = False
        while literal(self.peek().word) in ("!", "time"):
            negated ^= self.take().text == "!"
        commands = [self._command()]
        while self.peek().text == "|" and self.peek().kind == "operator":
            self.take()
            self._newlines()
            commands.append(self._command())
        return Pipeline(negated, commands)

    def _command(self) -> Any:
        token = self.peek()
        made = self._compound(literal(token.word) or token.text)
        if made is None:
            return self._simple()
        redirections = []
        while (follows := self._redirection()) is not None:
            redirections.append(follows)
        return Group([AndOr([("", Pipeline(False, [made]))], False)], False, redirections) if redirections else made

    def _compound(self, opening: str) -> Any:
        made = {"if": self._if, "while": self._loop, "until": self._loop, "for": self._for, "case": self._case}
        if opening in made and self.peek().kind == "word":
            return made[opening]()
        if opening in ("{", "("):
            if self.text.startswith("(", self.at) and opening == "(":
                return None
            self.take()
            body = self.lists()
            self.expect("}" if opening == "{" else ")")
            return Group(body, opening == "(")
        if opening == "function":
            self.take()
            name = self.take().text
            if self.peek().text == "(":
                self.take()
                self.expect(")")
            self._newlines()
            return Function(name, self._command())
        if opening in CLOSING or opening in ("select", "coproc") or not opening:
            raise SyntaxProblem(f"unexpected {opening!r}")
        return None

    def _if(self) -> If:
        branches: list[tuple[Sequence[AndOr] | None, Sequence[AndOr]]] = []
        while True:
            opening = self.take().text
            if opening == "fi":
                return If(branches)
            condition = None
            if opening in ("if", "elif"):
                condition = self.lists()
                self.expect("then")
            elif opening != "else":
                raise SyntaxProblem(opening)
            branches.append((condition, self.lists()))

    def _loop(self) -> Loop:
        until = self.take().text == "until"
        condition = self.lists()
        return Loop(until, condition, self._body())

    def _for(self) -> For:
        self.take()
        name = self.take().text
        if not NAME.fullmatch(name):
            raise SyntaxProblem(name)
        words: list[Word] | None = None
        self._only_newlines()
        if self.peek().text == "in":
            self.take()
            words = []
            while self.peek().kind == "word":
                words.append(self.take().word)
        self._newlines()
        return For(name, words, self._body())

    def _only_newlines(self) -> None:
        while self.peek().kind == "newline":
            self.take()

    def _body(self) -> Sequence[AndOr]:
        self._newlines()
        self.expect("do")
        body = self.lists()
        self.expect("done")
        return body

    def _case(self) -> CaseClause:
        self.take()
        word_of = self.take().word
        self._only_newlines()
        self.expect("in")
        branches: list[tuple[Sequence[Word], Sequence[AndOr], str]] = []
        while True:
            self._newlines()
            if self.peek().text == "esac":
                self.take()
                return CaseClause(word_of, branches)
            if self.peek().text == "(":
                self.take()
            patterns = [self.take().word]
            while self.peek().text == "|":
                self.take()
                patterns.append(self.take().word)
            self.expect(")")
            body = self.lists("esac")
            ending = self.take().text if self.peek().text in (";;", ";&", ";;&") else ""
            branches.append((patterns, body, ending))

    def _simple(self) -> Any:
        words: list[Word] = []
        redirections: list[Redirection] = []
        while True:
            token = self.peek()
            if (redirection := self._redirection()) is not None:
                redirections.append(redirection)
            elif token.kind == "word":
                words.append(self.take().word)
                if len(words) == 1 and literal(token.word) == "[[":
                    words += self._condition()
            elif token.text == "(" and len(words) == 1 and literal(words[0]):
                self.take()
                self.expect(")")
                self._newlines()
                return Function(str(literal(words[0])), self._command())
            elif token.text == "(" and not words:
                start = self.at - 1
                self.at = self._closing(self.at, "(", ")") + 1
                self.next = None
                words.append([Piece("opaque", "", False, self.text[start : self.at])])
            else:
                break
        if not words and not redirections:
            raise SyntaxProblem(self.peek().text)
        return Simple(words, redirections)

    def _condition(self) -> list[Word]:
        """The words of bash's `[[`, in which operators are words, too."""
        words: list[Word] = []
        while True:
            token = self.take()
            if token.kind == "end":
                raise SyntaxProblem("no closing ]]")
            words.append(token.word or [Piece("text", token.text, False, token.text)])
            if token.text == "]]":
                return words

    def _redirection(self) -> Redirection | None:
        token, descriptor = self.peek(), ""
        if token.kind == "word" and token.text.isdigit() and self.text[self.at : self.at + 1] in ("<", ">"):
            descriptor = self.take().text
            token = self.peek()
        if token.kind != "operator" or token.text not in REDIRECTIONS:
            return None
        self.take()
        if (target := self.take()).kind != "word":
            if target.text == "(":  # a process's output as a file
                self.at = self._closing(self.at, "(", ")") + 1
                return Redirection(token.text, [Piece("opaque", "", False, "<()")], [])
            raise SyntaxProblem(target.text)
        made = Redirection(token.text, target.word, [], descriptor)
        if token.text in ("<<", "<<-"):
            self.waiting.append(made)
        return made
