"""The table of faults: what is misspelt in it ends the import, and is named."""

from __future__ import annotations

import pytest

from lab.faults import table

RECORD = """\
loop: a circle
    # a comment
    hub: ip link set {port} \
        up
    red: FAULT-06; finding: loop at hub {port}
"""


def test_record_becomes_a_fault():
    """A record has the name, the words, the requirements and the place of a fault."""
    (fault,) = table.read(RECORD)

    assert (fault.name, fault.what, fault.reds, fault.greens) == ("loop", "a circle", ("FAULT-06",), ())
    assert fault.finding is not None
    assert fault.finding.code == "loop"


@pytest.mark.parametrize(
    ("text", "made", "message"),
    [
        (RECORD.replace("hub: ip", "hob: ip"), {"loop": print}, "fault loop: unknown hob"),
        (RECORD.replace("red: FAULT-06", "red: FAULT-06; geen: BCAST-01"), {}, "fault loop: unknown geen"),
        (RECORD, {"loop": print}, "no record for loop"),
    ],
)
def test_what_is_misspelt_is_named(text, made, message):
    """A host, a field or a fault that the table does not have is an error that names it."""
    with pytest.raises(ValueError, match=message):
        table.read(text, made)
