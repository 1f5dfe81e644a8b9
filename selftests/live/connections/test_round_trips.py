"""
How many round trips a check takes on live hosts: where one takes 0.2 s, they are the time of a run.

    sockets, taps  ─▶  send, when the other agents say that theirs are open  ─▶  fences and what arrived  ─1─▶
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab import groups
from lab.agent import messages
from lab.errors import CheckFailed
from lab.laboratory import Lab
from lab.live import LiveLab
from lab.machines.base import Call, Machine
from lab.machines.live import hosts, ssh
from lab.machines.live.ssh_link import Login
from lab.probes.payloads import AGENTS_PORT, unique
from selftests.live.conftest import Reach, looked_at, on_this_kernel
from selftests.live.rig import Rig

SLOW = 0.15
"""Seconds of each way of a slow link."""
GROUP = groups.fresh()
EXPERIMENTAL = b"\x88\xb5"
"""An Ethernet type that no protocol has (IEEE 802)."""


class RoundTrips:
    """Counts waits one after another: requests that are under way at the same time are one; and all `requests`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._posted: dict[tuple[int, int], int] = {}
        self._post, self._answer = Machine.post, Machine.answer
        patch.setattr(Machine, "post", lambda machine, *posted: self._note(machine, *posted))
        patch.setattr(Machine, "answer", lambda machine, *request: self._wait(machine, *request))

    def _note(self, machine: Machine, calls: Sequence[Call], *after: Any) -> int:
        number = self._post(machine, calls, *after)
        self._posted[id(machine), number] = self.count
        return number

    @property
    def requests(self) -> int:
        return len(self._posted)

    def _wait(self, machine: Machine, number: int, *timeout: float) -> list[Any]:
        try:
            return self._answer(machine, number, *timeout)
        finally:
            self.count = max(self.count, self._posted.get((id(machine), number), 0) + 1)


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> RoundTrips:
    return RoundTrips(monkeypatch)


@pytest.fixture
def lab(rig: Rig, reach: Reach) -> LiveLab:
    return looked_at(reach(rig.specs))


def begin_test(lab: LiveLab) -> None:
    """What the fixtures do between two tests."""
    lab.forget_ahead()
    lab.forget(ahead=True)


def test_what_a_test_begins_with_is_one_request_to_each_host(lab: LiveLab, round_trips: RoundTrips) -> None:
    """Clearing captures and starting to count are one request."""
    begin_test(lab)

    assert round_trips.requests == len(lab.hosts)


def test_a_delivery_check_takes_one_round_trip(lab: LiveLab, round_trips: RoundTrips) -> None:
    """A check waits only for the fences: the agents themselves verify that sockets are open."""
    begin_test(lab)
    begin = round_trips.count
    with lab.listen(lab.others("spoke1")) as heard:
        lab["spoke1"].udp.send(to=lab.everyone)
    heard.exactly_once(at=lab.others("spoke1"))

    assert round_trips.count - begin == 1


def test_where_a_datagram_was_seen_takes_no_further_round_trip(lab: LiveLab, round_trips: RoundTrips) -> None:
    """Captured frames are collected with the received datagrams; a host that no fence reaches is queried again."""
    begin_test(lab)
    begin = round_trips.count
    with lab.listen(lab.others("spoke1")) as heard:
        lab["spoke1"].udp.send(to=lab.everyone)
    everywhere = {seen.node for seen in heard.sightings()}
    with_all = round_trips.count - begin
    with lab.listen(["hub"]) as heard:
        lab["spoke1"].udp.send(to=lab.everyone)

    assert everywhere == {seen.node for seen in heard.sightings()} == set(lab.hosts)
    assert (with_all, round_trips.count - begin) == (1, 3)


def test_a_membership_takes_no_round_trip(lab: LiveLab, round_trips: RoundTrips) -> None:
    """A join is awaited with the next request, and its error is raised at the end of the block."""
    begin_test(lab)
    begin = round_trips.count
    with lab["spoke1"].member() as member:
        member.join(GROUP)
        joined = lab["spoke1"].memberships()
    with pytest.raises(OSError, match=r"join 192\.0\.2\.1"), lab["spoke1"].member() as member:
        member.join("192.0.2.1")

    assert GROUP in joined[lab["spoke1"].plan.device]
    assert round_trips.count - begin == 2


def test_a_check_of_every_sender_takes_one_round_trip(lab: LiveLab, round_trips: RoundTrips) -> None:
    """Hosts that send one after another are not waited for one after another."""
    begin_test(lab)
    begin = round_trips.count
    with lab.listen(lab.plans, bind="") as heard:
        for host in lab.hosts.values():
            host.udp.send(to=lab.everyone)

    assert round_trips.count - begin == 1
    assert all(len(arrived) >= len(lab.hosts) - 1 for arrived in heard.payloads.values())


def test_a_refused_datagram_is_raised_at_the_end_of_the_block(lab: LiveLab) -> None:
    """The kernel's rejection is its own OSError, and names the host that could not send, and the destination."""
    with pytest.raises(PermissionError, match=f"spoke1 cannot send to {lab.everyone}: ") as refused:
        with lab.listen(lab.others("spoke1")):
            lab["spoke1"].udp.send(to=lab.everyone, allow_broadcast=False)

    assert refused.value.errno == errno.EACCES


def test_a_refusal_ends_with_its_block(lab: LiveLab) -> None:
    """An error in a block that fails otherwise is not raised by later requests."""
    with contextlib.suppress(CheckFailed), lab.listen(lab.others("spoke1")):
        lab["spoke1"].udp.send(to=lab.everyone, allow_broadcast=False)
        raise CheckFailed("of the test")

    assert lab["spoke1"].node.read("links")


def test_a_ping_takes_one_round_trip(lab: LiveLab, round_trips: RoundTrips) -> None:
    """Its sockets, the request, the fences and the answers are one request."""
    begin_test(lab)
    begin = round_trips.count
    answers = lab["spoke1"].ping(lab.everyone)

    assert round_trips.count - begin == 1
    answers.exactly_once_by(lab.plans)


def test_a_connection_takes_one_round_trip(lab: LiveLab, round_trips: RoundTrips) -> None:
    """Both ends of a TCP connection are requested at the same time."""
    begin_test(lab)
    begin = round_trips.count
    received = lab["spoke1"].reaches_by_tcp(lab.hub)

    assert round_trips.count - begin == 1
    assert received


def closed(lab: Lab) -> None:
    """No host takes the agents' datagrams."""
    for host in lab.hosts.values():
        host.node.run("iptables", "-I", "INPUT", "-p", "udp", "--dport", str(AGENTS_PORT), "-j", "DROP")


def test_many_hosts_get_the_end_of_a_check_with_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without queries between agents, a check sends two messages to a host; a test that needs none sends none."""
    sent: list[bytes] = []
    pack = messages.pack
    monkeypatch.setattr(messages, "pack", lambda message: sent.append(pack(message)) or sent[-1])
    with on_this_kernel(tmp_path, prepare=closed) as rig:
        connected = ssh.reach(hosts.parse(rig.specs), Login(str(rig.ssh_config)))
        lab = looked_at(connected)
        checked: list[int] = []
        for _ in range(2):
            lab.forget_ahead()
            lab.forget(ahead=True)
            before = len(sent)
            with lab.listen(lab.others("spoke1")) as heard:
                lab["spoke1"].udp.send(to=lab.everyone)
            heard.exactly_once(at=lab.others("spoke1"))
            checked.append(len(sent) - before)
        ends = len(sent)
        lab.forget_ahead()
        asked = lab.hub.node.machine.requests
        lab.forget_ahead()
        assert lab.hub.node.machine.requests == asked
        seen = {one.node for one in lab.frames()}
        connected.close()

    sockets_and_sender, fences = len(lab.hosts), len(lab.hosts)
    assert checked[-1] == sockets_and_sender + fences
    assert len(sent) - ends == len(lab.hosts)
    assert seen == set()  # forgotten before they were asked for


def test_where_agents_cannot_ask_each_other_the_controller_waits(tmp_path: Path, round_trips: RoundTrips) -> None:
    """A check is the same with a round trip more, and near hosts send after a distant one has listened, or has left."""
    with on_this_kernel(tmp_path, prepare=closed, delays={"hub": SLOW}) as rig:
        connected = ssh.reach(hosts.parse(rig.specs), Login(str(rig.ssh_config)))
        lab = looked_at(connected)
        begin_test(lab)
        begin = round_trips.count
        with lab.listen(lab.others("spoke1")) as heard:
            lab["spoke1"].udp.send(to=lab.everyone)
        heard.exactly_once(at=lab.others("spoke1"))
        for_check = round_trips.count - begin
        with lab.listen(["hub", "spoke2"], group=GROUP) as left:
            left.leave("hub")
            lab["spoke1"].udp.send(to=GROUP)
        by_tcp = lab["spoke1"].reaches_by_tcp(lab.hub)
        connected.close()

    assert for_check == 2
    left.copies({"hub": 0, "spoke2": 1})
    assert by_tcp


@pytest.fixture
def distant_hub(tmp_path: Path) -> Iterator[LiveLab]:
    """Hosts of which the hub alone is far away."""
    with on_this_kernel(tmp_path, delays={"hub": SLOW}) as rig:
        connected = ssh.reach(hosts.parse(rig.specs), Login(str(rig.ssh_config)))
        assert connected.failures == []
        yield looked_at(connected)
        connected.close()


def test_a_near_host_sends_when_a_distant_one_listens(distant_hub: LiveLab, round_trips: RoundTrips) -> None:
    """Its agent waits until the hub's has opened its socket, which the controller does not wait for."""
    begin_test(distant_hub)
    begin = round_trips.count
    with distant_hub.listen(distant_hub.others("spoke1")) as heard:
        distant_hub["spoke1"].udp.send(to=distant_hub.everyone)

    assert round_trips.count - begin == 1
    heard.exactly_once(at=distant_hub.others("spoke1"))


def test_frames_that_a_near_host_sends_are_not_forgotten_at_a_distant_one(distant_hub: LiveLab) -> None:
    """A host sends only after the captures of all hosts were cleared for the test."""
    near, tag, to_all = distant_hub["spoke1"], unique(), b"\xff" * 6
    distant_hub.hub.node.read("links")  # neither host is busy with what came before
    begin_test(distant_hub)

    near.send_frame(near.plan.device, to_all + bytes([2, 0, 0, 0, 0, 1]) + EXPERIMENTAL + tag)

    assert {(frame.node, frame.direction) for frame in distant_hub.frames([tag])} >= {("spoke1", "out"), ("hub", "in")}
