"""
The conformance suite on real machines: three guests, each with a kernel, an sshd and a network stack of its own.

    pytest --hosts=ssh://root@hub,... ── ssh ── the emulated cloud network ── hub, spoke1, spoke2

What is shown elsewhere on namespaces of one kernel is shown here on three: clocks, checksums, buffers, modules and
sysctls are every machine's own, and nothing but packets gets from one to the other.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.topology import topologies
from selftests.live import guests_rig
from selftests.live.guests_rig import GuestsRig
from selftests.live.provision.runs import QUICK, Run
from selftests.live.test_suite import CONFIGURED_AND_DELIVERING, run
from selftests.machines.guests import Family, Owner

HOSTS = "--hosts=ssh://root@hub,ssh://root@spoke1,ssh://root@spoke2"
HELD = ({"passed"}, {"passed", "not-applicable"})
"""The outcomes of a level's requirements, where none of them was broken."""
MADE_AS_PLANNED = (
    *CONFIGURED_AND_DELIVERING,
    "tests/hub",
    "tests/mtu/test_boundary.py",
    "tests/wire/test_outer_fields.py",
)
"""What the commands of `--provision` decide; all tests pass on overlays like these that are there before the run."""
SECONDS = 10.0  # within which a machine is as it was; at once in practice, more on a busy machine

ARTICLE = {
    "hub": """
        ip link add gretap1 type gretap local 10.0.0.197 remote 10.0.0.25
        ip link add gretap2 type gretap local 10.0.0.197 remote 10.0.0.131
        ip link set gretap1 up
        ip link set gretap2 up
        ip link add bridge0 type bridge
        ip link set gretap1 master bridge0
        ip link set gretap2 master bridge0
        ip addr add 172.16.254.1/24 dev bridge0
        ip link set bridge0 up
        ip route add {groups} dev bridge0
        sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0
    """,
    "spoke1": """
        ip link add gretap1 type gretap local 10.0.0.25 remote 10.0.0.197
        ip addr add 172.16.254.2/24 dev gretap1
        ip link set gretap1 up
        ip route add {groups} dev gretap1
        sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0
    """,
    "spoke2": """
        ip link add gretap2 type gretap local 10.0.0.131 remote 10.0.0.197
        ip addr add 172.16.254.3/24 dev gretap2
        ip link set gretap2 up
        ip route add {groups} dev gretap2
        sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0
    """,
}
"""What the article's reader types; it has 224.0.0.0/8 for the groups."""
MULTICAST, ARTICLES_MULTICAST = "224.0.0.0/4", "224.0.0.0/8"


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestsRig]:
    """Three machines as their cloud hands them out; each test leaves them so."""
    with guests_rig.booted(tmp_path_factory.mktemp("guests"), topologies.star(2)) as made:
        yield made


@contextlib.contextmanager
def typed_in(guests: GuestsRig, groups: str) -> Iterator[None]:
    """The article's commands, in a shell on each machine, and what takes the overlay away after the block."""
    for name, script in ARTICLE.items():
        type_in(guests, name, script.format(groups=groups))
    # within a second, the hub's kernel notices that the bridge carries
    carries = "timeout 10 sh -c 'while ip link show bridge0 | grep NO-CARRIER; do sleep 0.1; done'"
    guests.hosts["hub"].console("run", carries)
    try:
        yield
    finally:
        for name, script in ARTICLE.items():
            type_in(guests, name, "\n".join(undone(script)))


def type_in(guests: GuestsRig, name: str, script: str) -> None:
    """Commands in a shell on a machine."""
    shell = ["ssh", "-F", str(guests.ssh_config), name, "sh -ex"]
    typed = subprocess.run(shell, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert typed.returncode == 0, f"{name}:\n{typed.stderr}"


def undone(script: str) -> list[str]:
    """What removes the devices of a script, with their addresses and routes, and answers no broadcast ping again."""
    made = re.findall(r"ip link add (\w+)", script)
    return [*(f"ip link del {device}" for device in made), "sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=1"]


def by_outcome(result: dict[str, Any], level: str) -> dict[str, set[str]]:
    """The requirements of a level that any test asserts, by their outcome."""
    found: dict[str, set[str]] = {}
    for entry in result["requirements"]:
        if entry["level"] == level and entry["tests"]:
            found.setdefault(entry["outcome"], set()).add(entry["id"])
    return found


@pytest.mark.parametrize("tunnel", ["gretap", "geneve"])
def test_an_overlay_for_the_length_of_a_run(guests: GuestsRig, tmp_path: Path, tunnel: str) -> None:
    """On machines as their cloud hands them out, --provision makes the overlay that conforms, and takes it away."""
    before = guests.state()

    done, result = run(guests, tmp_path, HOSTS, "--provision", f"--tunnel={tunnel}", *MADE_AS_PLANNED)

    assert set(by_outcome(result, "MUST")) in HELD, done.stdout[-3000:] + done.stderr
    assert set(by_outcome(result, "SHOULD")) in HELD
    assert result["findings"] == []
    assert guests.differences(before, 0.0) == []


def test_the_controller_is_killed(guests: GuestsRig, tmp_path: Path) -> None:
    """By SIGKILL in the middle of a test: within seconds the machines are as they were before --provision."""
    before = guests.state()
    held = Run(guests, tmp_path, *QUICK, "--tunnel=gretap", "-p", "selftests.lab.hold").until_ready()
    try:
        assert {line.partition(":")[0] for line in guests.differences(before, 0.0)} == set(guests.hosts)
    finally:
        held.process.kill()
        held.process.communicate()

    assert guests.differences(before, SECONDS) == []


def test_the_articles_overlay_conforms(guests: GuestsRig, tmp_path: Path) -> None:
    """
    With 224.0.0.0/4 in the article's place for the groups, every MUST holds that live hosts can show.

    Its bridge takes a port's MAC address, as HUB-08 advises against.  Nothing on the machines has changed.
    """
    with typed_in(guests, MULTICAST):
        before = guests.state()
        done, result = run(guests, tmp_path, HOSTS)
        changed = guests.differences(before, SECONDS)

    assert set(by_outcome(result, "MUST")) == {"passed", "not-applicable"}, done.stdout[-3000:] + done.stderr
    assert by_outcome(result, "SHOULD").get("failed") == {"HUB-08"}
    assert result["findings"] == []
    assert result["environment"]["machine"] == "ssh"
    assert changed == []


def test_the_articles_multicast_route_is_found(guests: GuestsRig, tmp_path: Path) -> None:
    """The article's literal 224.0.0.0/8 leaves most groups to the underlay: MCAST-08 reports it, with the fix."""
    with typed_in(guests, ARTICLES_MULTICAST):
        before = guests.state()
        done, result = run(guests, tmp_path, HOSTS, "--requirements=MCAST-08,MCAST-01,BCAST-01,PRE-08")
        changed = guests.differences(before, SECONDS)

    assert done.returncode == 1, done.stdout[-3000:] + done.stderr
    outcomes = {entry["id"]: entry["outcome"] for entry in result["requirements"]}
    assert outcomes["MCAST-08"] == "failed"
    assert {outcomes["MCAST-01"], outcomes["BCAST-01"]} == {"passed"}
    assert {(finding["code"], finding["node"], finding["remedy"]) for finding in result["findings"]} == {
        ("multicast-route-narrow", node, f"ip route replace 224.0.0.0/4 dev {device}")
        for node, device in {"hub": "bridge0", "spoke1": "gretap1", "spoke2": "gretap2"}.items()
    }
    assert changed == []


OWN_RIG = """
    import sys, tempfile, execnet
    from pathlib import Path
    from lab import laboratory
    from lab.topology import topologies
    from lab.machines import choose
    from lab.model import Underlay
    from lab.clouds.providers import provider
    from selftests.live.guests_rig import GuestsRig
    starting = choose.start(choose.Choice("local", ""), execnet.Group())
    lab = laboratory.build(starting.machine(), topologies.star(2), Underlay(provider("oci")), overlay=False)
    rig = GuestsRig(lab, Path({directory!r}))
    print(*(host.booting.pid for host in rig.hosts.values()), flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(guests_rig.missing() is not None, reason=str(guests_rig.missing()))
def test_nothing_is_left_of_the_machines_when_their_owner_is_killed(tmp_path: Path) -> None:
    """By SIGKILL of the process that made them, all three machines end at once."""
    with Owner(OWN_RIG.format(directory=str(tmp_path))) as owner:
        families = [Family(int(pid)) for pid in owner.line().split()]
        assert len(families) == 3

        owner.process.kill()

        for family in families:
            family.await_end()
