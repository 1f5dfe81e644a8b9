"""A socket that an agent keeps open in a node, for a `with` block."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate

from lab.machines.base import Agent, Call, Opening, P, Result, call
from lab.machines.node import Node, do_all

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack  # mypy brings them


_handles = itertools.count(-1, -1)  # an agent gives numbers from 1 on


def fresh_handle() -> int:
    """A number for a socket that is used before its agent has answered."""
    return next(_handles)


@dataclass(frozen=True)
class Socket:
    """An open socket: `handle` is its number at the node's agent."""

    node: Node
    handle: int

    @classmethod
    def open(cls, node: Node, **fields: Unpack[Opening]) -> Self:
        return cls(node, node.ask(Agent.open, **fields))

    @classmethod
    def opening(cls, node: Node, **fields: Unpack[Opening]) -> Self:
        """The same without waiting, where it can: a refusal is raised by the next request to the node's machine."""
        made = cls(node, fresh_handle())
        do_all([(node, node.call(Agent.open, made.handle, **fields))])
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.node.machine.tell([call(Agent.close, [self.handle])])

    def call(
        self, verb: Callable[Concatenate[Any, int, P], Result], *positional: P.args, **named: P.kwargs
    ) -> Call[Result]:
        """A verb whose first argument is a socket: this one; for a batch."""
        return Call(verb.__name__, (self.handle, *positional), named)

    def wait(self, token: bytes, timeout: float) -> Call[list[int]]:
        """Waits until it has received something that holds the token; the result is empty when it has."""
        return call(Agent.wait_for, [[self.handle, token]], timeout)

    def take(self) -> Call[list[list[dict[str, Any]]]]:
        return call(Agent.take, [self.handle])

    def received(self) -> list[dict[str, Any]]:
        """What it has received since that was last taken."""
        return self.node.machine.batch([self.take()])[0][0]
