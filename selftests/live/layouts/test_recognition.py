"""
Live hosts in the layouts that overlays have: a star in any numbers and the shapes without a hub are judged, every other
layout is only described.

    three hosts, an overlay made by commands  -->  pytest --hosts=...  -->  conformant
                                                                       or   "layout not understood", and no command
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.machines import abilities
from lab.model import TunnelOptions
from lab.stack import state
from lab.topology import topologies
from selftests.live.conftest import on_this_kernel
from selftests.live.doctor.test_prerequisites import ask
from selftests.live.layouts.commands import OTHERS, SEVERAL, SHAPES, STARS, Commands, undo
from selftests.live.rig import Rig
from selftests.live.test_suite import run

INCOMPLETE = 10
SOME = ("tests/prerequisites", "tests/broadcast")
DUAL_STACK = topologies.star(3, TunnelOptions(kind="ip6gretap"))  # its NICs have addresses of IPv6, too
HOLDS = ("passed", "not-applicable")
COMMAND = re.compile(r"\b(ip (link|addr|route|rule)|bridge (link|fdb)|iptables|nft|tc|sysctl) \S")


@pytest.fixture(scope="module")
def bare_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Hosts without an overlay, that answer broadcast pings."""
    with on_this_kernel(tmp_path_factory.mktemp("rig"), overlay=False, topology=DUAL_STACK, shared=True) as made:
        for host in made.lab.hosts.values():
            host.node.write_sysctls({"net.ipv4.icmp_echo_ignore_broadcasts": "0"})
        yield made


@contextlib.contextmanager
def layout(rig: Rig, commands: Commands) -> Iterator[None]:
    """The hosts in a layout for the length of a block."""
    try:
        _run(rig, commands, check=True)
        yield
    finally:
        _run(rig, undo(commands), check=False)


def _run(rig: Rig, commands: Mapping[str, tuple[str, ...]], *, check: bool) -> None:
    for host, each in commands.items():
        for command in each:
            done = rig.lab[host].node.run("sh", "-c", command)
            assert not check or done["status"] == 0, f"{host}: {command}: {done['errors']}"


def delivers(rig: Rig, host: str, to: str) -> bool:
    """Whether a ping from a host arrives: the overlay of the layout works."""
    return bool(rig.lab[host].node.run("ping", "-c", "1", "-W", "2", to)["status"] == 0)


def run_unchanged(rig: Rig, tmp_path: Path, made: tuple[Commands, str], *arguments: str) -> Any:
    """A run on hosts in a layout that delivers, which leaves them as they are."""
    commands, hosts = made
    with layout(rig, commands):
        assert delivers(rig, "spoke1", "172.16.254.1")
        before = state.fingerprint(rig.lab.nodes)
        ended = run(rig, tmp_path, f"--hosts={hosts}", *arguments)
        assert state.fingerprint(rig.lab.nodes) == before
    return ended


@pytest.mark.parametrize("name", STARS)
def test_a_star_in_other_numbers_is_conformant(bare_rig: Rig, tmp_path: Path, name: str) -> None:
    """A star with other numbers, or with additional devices, is judged; every MUST that applies holds."""
    done, result = run_unchanged(bare_rig, tmp_path, STARS[name])

    failed = {one["id"]: one["reason"] for one in result["requirements"] if one["outcome"] not in HOLDS}
    assert (result["verdict"], failed, result["findings"]) == ("conformant", {}, []), done.stdout[-6000:]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_without_a_hub_is_conformant(bare_rig: Rig, tmp_path: Path, name: str) -> None:
    """A pair, a mesh and flood lists are recognised, in any order; what needs a hub is not applicable, by its name."""
    done, result = run_unchanged(bare_rig, tmp_path, SHAPES[name], "-v")

    outcomes = {one["id"]: (one["outcome"], one["reason"]) for one in result["requirements"]}
    failed = {identity: reason for identity, (outcome, reason) in outcomes.items() if outcome not in HOLDS}
    assert (result["verdict"], failed, result["findings"]) == ("conformant", {}, []), done.stdout[-6000:]
    assert result["environment"]["topology"] == name
    assert f"the hosts are a {name}: none of them is a hub" in done.stdout
    assert {outcomes[each][0] for each in ("BCAST-01", "BCAST-02", "MCAST-01", "ICMP-01")} == {"passed"}
    assert outcomes["SNOOP-01"] == ("not-applicable", f"this requires a hub; the {name} topology has none")


@pytest.mark.parametrize("name", OTHERS)
def test_another_layout_is_described_and_no_command_is_given(bare_rig: Rig, tmp_path: Path, name: str) -> None:
    """An overlay that delivers in another layout is incomplete: seen host by host, nothing to run on any of them."""
    done, result = run_unchanged(bare_rig, tmp_path, OTHERS[name], *SOME)

    printed = done.stdout + done.stderr
    assert done.returncode == INCOMPLETE, printed[-3000:]
    assert result["verdict"] == "incomplete"
    assert result["findings"] == []
    assert {one["outcome"] for one in result["requirements"]} <= {"not-run", "not-applicable"}
    assert "layout not understood: " in printed
    for host in OTHERS[name][1].split(","):
        assert re.search(rf"^  {host}: \w+.*→", printed, re.MULTILINE), printed[-3000:]
    assert [line for line in printed.splitlines() if COMMAND.search(line)] == []


def test_the_doctor_describes_it_too(bare_rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """On chained hubs that deliver the doctor finds no problem, does not call the hosts ready, and prints no fix."""
    commands, hosts = OTHERS["chained hubs"]
    with layout(bare_rig, commands):
        report = ask(capsys, f"--hosts={hosts}", f"--ssh-config={bare_rig.ssh_config}")

    assert report.status == INCOMPLETE, report.text
    assert report.lines("problem") == {}
    found = report.lines("warning")["all hosts", "layout not understood"]
    assert "spoke1 vx2 leads to spoke2, not to the hub" in found
    assert "fix" not in found
    assert "the hosts are ready" not in report.text


@pytest.mark.parametrize("overlay", ["172.17.0.0/24", "br1"])
def test_one_of_several_overlays_is_chosen(bare_rig: Rig, tmp_path: Path, overlay: str) -> None:
    """By its subnet or the name of a device that one is judged, which would not be otherwise; the other is named."""
    done, result = run_unchanged(
        bare_rig, tmp_path, (SEVERAL, "hub,spoke1,spoke2"), f"--overlay={overlay}", "tests/broadcast", "-v"
    )

    assert done.returncode == INCOMPLETE, done.stdout[-3000:] + done.stderr  # narrowed to these tests
    assert {one["outcome"] for one in result["requirements"] if one["id"].startswith("BCAST")} <= set(HOLDS)
    assert "172.17.0.1" in str(result["topology"])
    assert "172.16.254.0/24 (hub bridge0, spoke1 vx1, spoke2 vx2) is another overlay" in done.stdout


def test_an_overlay_that_there_is_not_is_refused(bare_rig: Rig, tmp_path: Path) -> None:
    """One line lists those that there are."""
    done, _ = run_unchanged(bare_rig, tmp_path, (SEVERAL, "hub,spoke1,spoke2"), "--overlay=br7")

    assert done.returncode == 4
    assert "--overlay=br7: no overlay has that device or subnet; found " in done.stderr
    assert "172.17.0.0/24 (hub br1, spoke1 vx11, spoke2 vx12)" in done.stderr


def test_the_doctor_names_the_hosts_that_lack_what_a_design_needs(
    bare_rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --topology=two-hubs-prp the first two hosts are hubs, which need no hsr; a spoke without it is a problem."""
    if not abilities.probe(["hsr"]).kinds["hsr"]:
        pytest.skip("this kernel has hsr")
    given = (f"--ssh-config={bare_rig.ssh_config}", "--tunnel=vxlan", "--topology=two-hubs-prp")
    report = ask(capsys, "--hosts=hub,spoke1,spoke2,spoke3", *given)

    problems = report.lines("problem")
    assert {where for where, what in problems if what == "hsr"} == {"spoke2 (spoke1)", "spoke3 (spoke2)"}, report.text
    assert "CONFIG_HSR" in problems["spoke2 (spoke1)", "hsr"]
