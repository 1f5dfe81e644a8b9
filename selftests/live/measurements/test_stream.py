"""
`--stream=` on live hosts: what each host missed while something was lost, printed; nothing changed on the hosts.

    pytest --hosts=hub,spoke1,spoke2 --stream=6      spoke1 --100 numbers a second--> hub, spoke2
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.stack import state
from selftests import plain
from selftests.live.rig import Rig

MINUTES = 120.0  # seconds that a run may take at most
READY = "cause it now"
SECONDS = 6
OFF = "ip link set ens3 down; sleep 2; ip link set ens3 up; ip route add default via 10.0.0.1"
KINDS = ("broadcast", "multicast", "unicast")
ROW = re.compile(rf"^  (\w+) +({'|'.join(KINDS)}) +(none|[\d.]+ s)(, to the end)? +(\d+) +(\d+) +(\d+)$", re.MULTILINE)


class Streaming:
    """A run of pytest with --stream."""

    def __init__(self, rig: Rig, reports: Path, *arguments: str) -> None:
        self.process = plain.start(
            *(f"--reports={reports}", "--provider=oci", "--hosts=hub,spoke1,spoke2"),
            *(f"--ssh-config={rig.ssh_config}", *arguments),
        )
        self.said: list[str] = []

    def until_ready(self) -> None:
        for line in self.process.lines():
            self.said.append(line)
            if READY in line:
                return
        self.process.wait()
        raise AssertionError("".join(self.said))

    def ended(self) -> str:
        return "".join([*self.said, self.process.communicate(timeout=MINUTES)])


def rows(said: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Silence, lost, repeated and out of order by receiver and kind of traffic."""
    return {(to, kind): (silence + end, *counts) for to, kind, silence, end, *counts in ROW.findall(said)}


def test_what_a_lost_hub_costs_is_printed(rig: Rig, tmp_path: Path) -> None:
    """The hub's NIC is off for two seconds: each receiver has a silence of that length, and no duplicates."""
    before = state.fingerprint(rig.lab.nodes)
    run = Streaming(rig, tmp_path, f"--stream={SECONDS}")
    run.until_ready()

    assert rig.lab["hub"].node.run("sh", "-c", OFF)["status"] == 0
    said = run.ended()

    found = rows(said)
    assert set(found) == {(to, kind) for to in ("hub", "spoke2") for kind in KINDS}, said
    for silence, lost, repeated, disordered in found.values():
        assert 2.0 <= float(silence.removesuffix(" s")) < SECONDS, said
        assert int(lost) >= 190  # two seconds of 100 a second, but for what the kernel kept meanwhile
        assert (repeated, disordered) == ("0", "0")
    assert "1 passed" in said
    assert "the selected tests cover " in said
    assert state.fingerprint(rig.lab.nodes) == before


def test_nothing_is_missed_where_nothing_happens(rig: Rig, tmp_path: Path) -> None:
    """Without an event no receiver misses anything."""
    said = Streaming(rig, tmp_path, "--stream=1").ended()

    assert len(found := rows(said)) == 6, said
    assert set(found.values()) == {("none", "0", "0", "0")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stream=5",), "--stream requires --hosts=HUB,SPOKE,..."),
        (("--stream=0", "--hosts=a,b"), "--stream=0: expected 1 to 600 seconds"),
        (("--stream=601", "--hosts=a,b"), "--stream=601: expected 1 to 600 seconds"),
    ],
)
def test_what_a_stream_cannot_be(arguments: tuple[str, ...], message: str) -> None:
    """One line names what is expected."""
    done = plain.run("-q", *arguments)

    assert done.returncode == 4
    assert message in done.stderr
