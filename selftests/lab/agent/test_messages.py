"""Messages between the agent and its caller: builtins are sent unchanged, and nothing else is sent."""

import os
import pickle

import pytest

from lab.agent import messages


def test_builtins_arrive_as_they_were():
    """Arguments and results of a verb keep their types: lists stay lists, tuples tuples, bytes bytes."""
    message = [
        ("open", {"bind": ["", 20001], "options": [(1, 2, b"\0")], "device": None, "grace": 0.5, "ttl": 1 << 40})
    ]

    assert messages.unpack(messages.pack(message)) == message


@pytest.mark.parametrize("named", [os.system, OSError("no"), messages.Builtins])
def test_what_names_code_is_refused(named):
    """A host that answers with a function or an object of a class has none of its code run here."""
    with pytest.raises(pickle.UnpicklingError, match="builtins only"):
        messages.unpack(pickle.dumps(named))


@pytest.mark.parametrize("data", [b"", b"\x80", b"hello", b"0", b"\x80\x04]", pickle.dumps([1])[:-2], "text", 7])
def test_what_is_no_message_is_refused(data):
    """Any invalid message from a host is rejected with the same kind of error."""
    with pytest.raises(pickle.UnpicklingError):
        messages.unpack(data)
