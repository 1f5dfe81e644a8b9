"""
Messages between an agent and its caller: builtins as bytes, by pickle, and nothing but builtins.

Execnet would write them too, value by value in Python: 40 to 90 us for what takes 2 us here, four times a question,
and once more for every host.  What comes from a live host may not name a class or function, by which a pickle could
run code.
Source: https://docs.python.org/3/library/pickle.html#restricting-globals
"""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

PROTOCOL = 4  # the newest that every supported Python has as its default


class Builtins(pickle.Unpickler):
    """Reads builtins only."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"a message may hold builtins only, and this one names {module}.{name}")


def pack(message: Any) -> bytes:
    return pickle.dumps(message, PROTOCOL)


def unpack(data: bytes) -> Any:
    """The message; pickle.UnpicklingError when it holds anything but builtins, or is none."""
    try:
        return Builtins(io.BytesIO(data)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # "ValueError, EOFError, ... and so on": pickle promises no list of them
        raise pickle.UnpicklingError(f"it is no message: {error!r}") from None
