"""The paths of a failed check in the results: as data, and drawn."""

from __future__ import annotations

from typing import Any

import pytest

from lab.probes.capture.decoding import decoded
from reports.html import ladder, page

pytest_plugins = ["pytester"]

SEEN = {"node": "spoke1", "interface": "ens3", "direction": "out", "carrier": "GRE", "copies": 2, "after": 12.5}
SEEN["frame"] = "10.0.0.25 > 10.0.0.197 ttl 64 GRE"
LEGS = [{**SEEN, "seen": True}, {**SEEN, "node": "hub", "interface": "gretap2", "after": None, "seen": False}]
PATH: dict[str, Any] = {
    "sender": "spoke1",
    "receiver": "spoke2",
    "to": "172.16.254.255:7",
    "heard": 0,
    "expected": 1,
    "legs": LEGS,
}

FAILING = f"""
@pytest.mark.requirement("HUB-08")
def test_lost(request):
    request.node.user_properties.append(("path", {PATH!r}))
    raise CheckFailed("lost")
"""


def test_a_failed_test_has_its_paths_in_the_results(suite):
    """Both the data and the page show where it was last seen, and where never."""
    suite.except_for("HUB-08", tests=FAILING)

    run = suite.run()

    (failed,) = [test for test in run.result["tests"] if test["outcome"] == "failed"]
    assert failed["paths"] == [PATH]
    page = (run.reports / "index.html").read_text(encoding="utf-8")
    assert "gretap2: never" in page
    assert "spoke1 to spoke2: received 0 of 1" in page


ALIKE = f"""
@pytest.mark.requirement("HUB-08")
@pytest.mark.parametrize("receiver", ["spoke2", "spoke3"])
def test_lost(request, receiver):
    request.node.user_properties.append(("path", {PATH!r} | {{"receiver": receiver}}))
    raise CheckFailed("lost")
"""


def test_each_test_has_its_own_path_beside_it(suite):
    """Of tests that fail for one reason the page draws the path of each, not that of the first."""
    suite.except_for("HUB-08", tests=ALIKE)

    page = (suite.run().reports / "index.html").read_text(encoding="utf-8")

    _, second, third = page[page.index("<h2>Failures</h2>") :].split("test_lost[")[:3]
    assert "spoke1 to spoke2:" in second
    assert "spoke1 to spoke3:" in third


@pytest.mark.parametrize(("heard", "expected"), [(0, None), (0, 0), (1, 1)])
def test_only_what_was_to_arrive_is_lost(heard, expected):
    """A missing datagram that was not expected, or of which no test states it, is not drawn as lost."""
    drawn = drawing_of({**PATH, "heard": heard, "expected": expected})

    assert "gretap2: never" in drawn
    assert "lost" not in drawn
    assert "failed" not in drawn
    assert "lost" in drawing_of(PATH)


def test_each_leg_shows_its_time_and_its_copies():
    """A leg shows how long after the first one it was, and how often the frame was there."""
    drawn = drawing_of(PATH)

    assert '<td class="time">12</td>' in drawn
    assert ">ens3 ×2</span>" in drawn


def test_what_was_seen_nowhere_is_drawn_as_such():
    """A path without legs is no empty line."""
    assert "not captured anywhere" in drawing_of({**PATH, "legs": []})


def drawing_of(path: dict[str, Any]) -> str:
    """One path as the page has it."""
    return str(page.templates().get_template("macros.html").module.path({**ladder.view(path), "id": ""}))


def test_a_ladder_has_hosts_beside_each_other_and_time_downwards():
    """Each host has one column; a step is later than those above it; without a known clock there is no time."""
    legs = [
        {**SEEN, "after": None, "seen": True},
        {**SEEN, "node": "hub", "after": 30.0, "seen": True},
        {**SEEN, "node": "hub", "interface": "bridge0", "after": 1.5, "seen": True},
        {**SEEN, "node": "spoke1", "interface": "gretap1", "after": None, "seen": False},
    ]

    shown = ladder.view({**PATH, "legs": legs})

    assert shown["hosts"] == ["spoke1", "hub"]
    assert [step["time"] for step in shown["steps"]] == ["0.0", "30", "32", ""]
    assert [step["arrow"] for step in shown["steps"]] == ["", "→ ", "", "← "]


def test_the_frames_of_a_lost_packet_are_decoded_on_the_page(suite):
    """Below the ladder of a failed check each frame's headers are decoded, folded."""
    suite.except_for("HUB-08", tests=FAILING)

    page = (suite.run().reports / "index.html").read_text(encoding="utf-8")

    ladder = page[page.index('<table class="ladder">') :]
    assert '<th scope="col">hub</th>' in ladder
    assert "✗ gretap2: never" in ladder
    assert "<summary>frames, decoded</summary>" in ladder
    assert "<code>10.0.0.25 &gt; 10.0.0.197 ttl 64 GRE</code>" in ladder


INNER = bytes.fromhex("ffffffffffff0200ac10fe0208004500003c0000400040110000ac10fe02ac10feff9c4056a700280000") + bytes(
    32
)
OUTER = bytes.fromhex("02000000000102000000000208004500000000004000402f00000a0000190a0000c500006558")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (INNER, "172.16.254.2 > 172.16.254.255 ttl 64 UDP 40000 > 22183, 32 octets"),
        (
            OUTER[:16] + (20 + 4 + len(INNER)).to_bytes(2, "big") + OUTER[18:] + INNER,
            "10.0.0.25 > 10.0.0.197 ttl 64 GRE / 172.16.254.2 > 172.16.254.255 ttl 64 UDP 40000 > 22183, 32 octets",
        ),
        (INNER[:20], "EtherType 0x0800, 20 octets"),
        (b"", "EtherType 0x0000, 0 octets"),
    ],
    ids=["bare", "in GRE", "cut off", "empty"],
)
def test_a_frame_in_one_line(frame, said):
    """The headers are read outermost first; cut-off parts are not guessed."""
    assert decoded(frame, 4789) == said
