"""What captures did not see may have been there: a capture that lost frames proves nothing absent."""

import pytest

from lab.errors import EnvironmentProblem
from lab.probes.payloads import fresh_port, unique

MANY, LARGE = 700, 8000  # datagrams, and octets of each: more than a capture has room for between two looks


def test_a_capture_that_lost_frames_says_so_until_it_forgets(lab):
    """Frames that there was no room for end a look at captures, and no later one."""
    lab.forget()
    lab.hub.udp.send([unique(LARGE)] * MANY, to=lab.everyone, port=fresh_port())

    with pytest.raises(EnvironmentProblem, match=r"no room for some frames \(.* at hub"):
        lab.frames()

    lab.forget()
    with lab.listen(["spoke1"]) as heard:
        sent = lab.hub.udp.send(to=lab.everyone)
    assert lab.frames([sent.payload])
    heard.exactly_once(at=["spoke1"])
