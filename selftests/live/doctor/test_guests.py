"""
`./overcast doctor --hosts=` on real machines: three guests, each with a kernel of its own, its tunnels gretap.

What namespaces of one kernel cannot show: protocol 47 beside tunnels that take it, a driver that is not loaded yet.
"""

from __future__ import annotations

import time

import pytest

from selftests.live.doctor.test_prerequisites import Report, ask
from selftests.live.guests_rig import GuestsRig
from selftests.live.test_guests import HOSTS, MULTICAST, SECONDS, guests, typed_in

__all__ = ["guests"]


def named(role: str) -> str:
    """A host of HOSTS as lines name it."""
    return f"root@{role} ({role})"


def test_before_and_after_an_overlay_is_set_up(guests: GuestsRig, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Machines as their cloud hands them out lack one parameter, and with the article's overlay they are ready.

    With protocol 47 dropped at one port, that direction alone is named.  Nothing on the machines has changed.
    """

    def doctor() -> Report:
        return ask(capsys, HOSTS, f"--ssh-config={guests.ssh_config}")

    before = guests.state()
    bare = doctor()
    assert guests.differences(before, SECONDS) == []
    assert {what for _, what in bare.lines("problem")} == {"broadcast ping"}, bare.text
    assert bare.lines("ok")[named("hub"), "ip_gre"] == "the kernel loads it when it is needed", bare.text

    with typed_in(guests, MULTICAST):
        before = guests.state()
        began = time.monotonic()
        ready = doctor()
        took = time.monotonic() - began
        with guests.lab.cloud.without_gre("spoke1"):
            blocked = doctor()
        changed = guests.differences(before, SECONDS)

    assert ready.lines("problem") == {}, ready.text
    assert ready.status == 0
    assert took < 20
    for spoke in ("spoke1", "spoke2"):
        for way in (f"{named('hub')} → {named(spoke)}", f"{named(spoke)} → {named('hub')}"):
            assert ready.lines("ok")[way, "protocol 47"].startswith("arrives, and passes"), ready.text
    back = f"{named('spoke1')} → {named('hub')}"
    assert blocked.lines("problem")[back, "protocol 47"], blocked.text
    assert (f"{named('hub')} → {named('spoke1')}", "protocol 47") not in blocked.lines("problem")
    assert "unlike ICMP echo and UDP: a cloud rule" in blocked.lines("problem")[back, "protocol 47"]
    assert changed == []
