"""
Live hosts with two hubs: four guests, whose kernels have bonding and hsr, recognised, judged and left as they were.

    bond   spoke1 bond1 [gretap1 --> hub, gretap2 --> hub2]     hub gretap3 ==== gretap3 hub2
    PRP    spoke1 prp0  [gretap1 --> hub, gretap2 --> hub2]     the hubs are not joined
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.clouds.providers import provider
from lab.model import TunnelOptions
from lab.topology import designs
from selftests.live import guests_rig
from selftests.live.doctor.test_prerequisites import ask
from selftests.live.guests_rig import GuestsRig
from selftests.live.test_guests import HELD, MADE_AS_PLANNED, SECONDS, by_outcome
from selftests.live.test_suite import run

BOND, PRP = "two-hubs-bond", "two-hubs-prp"
HOSTS = "--hosts=ssh://root@spoke2,ssh://root@hub,ssh://root@spoke1,ssh://root@hub2"
IN_ORDER = "--hosts=ssh://root@hub,ssh://root@hub2,ssh://root@spoke1,ssh://root@spoke2"
HUB, HUB2, SPOKE1, SPOKE2 = "10.0.0.197", "10.0.0.198", "10.0.0.25", "10.0.0.131"
TUNNEL = "ip link add {device} {more} type gretap local {local} remote {remote} ttl 64 && ip link set {device} up\n"
PLACED = """
ip link set {device} up
ip addr add {address}/24 dev {device}
ip route add 224.0.0.0/4 dev {device}
sysctl -q -w net.ipv4.icmp_echo_ignore_broadcasts=0
"""


def tunnels(local: str, *remotes: str, more: str = "") -> str:
    return "".join(
        TUNNEL.format(device=f"gretap{number}", local=local, remote=remote, more=more)
        for number, remote in enumerate(remotes, 1)
    )


def hub(local: str, other: str, address: str, mac: str, *, joined: bool) -> str:
    remotes = [SPOKE1, SPOKE2, *([other] if joined else [])]
    ports = "".join(f"ip link set gretap{number} master bridge0\n" for number, _ in enumerate(remotes, 1))
    size = "" if joined else "ip link set bridge0 mtu 1494\n"
    made = f"ip link add bridge0 address {mac} type bridge\n{tunnels(local, *remotes)}{ports}{size}"
    return made + PLACED.format(device="bridge0", address=address)


def bonded(local: str, address: str) -> str:
    targets = "arp_interval 1000 arp_ip_target 172.16.254.1,172.16.254.200"
    legs = "".join(f"ip link set gretap{number} down; ip link set gretap{number} master bond1\n" for number in (1, 2))
    made = f"{tunnels(local, HUB, HUB2)}ip link add bond1 mtu 8962 type bond mode active-backup {targets}\n{legs}"
    return made + PLACED.format(device="bond1", address=address)


def doubled(local: str, address: str, mac: str) -> str:
    legs = tunnels(local, HUB, HUB2, more=f"address {mac}")
    made = f"{legs}ip link add prp0 type hsr slave1 gretap1 slave2 gretap2 proto 1\nip link set prp0 mtu 1494\n"
    return made + PLACED.format(device="prp0", address=address)


def hubs(*, joined: bool) -> dict[str, str]:
    return {
        "hub": hub(HUB, HUB2, "172.16.254.1", "02:00:ac:10:fe:01", joined=joined),
        "hub2": hub(HUB2, HUB, "172.16.254.200", "02:00:ac:10:fe:c8", joined=joined),
    }


TYPED = {
    BOND: {
        **hubs(joined=True),
        "spoke1": bonded(SPOKE1, "172.16.254.2"),
        "spoke2": bonded(SPOKE2, "172.16.254.3"),
    },
    PRP: {
        **hubs(joined=False),
        "spoke1": doubled(SPOKE1, "172.16.254.2", "02:00:ac:10:fe:02"),
        "spoke2": doubled(SPOKE2, "172.16.254.3", "02:00:ac:10:fe:03"),
    },
}
DELIVERS = "for host in {hosts}; do timeout 20 sh -c 'until ping -c 1 -W 1 '$host'; do :; done'; done"
SETTLED = "timeout 20 sh -c 'until ip link show bond1 | grep -q state.UP; do sleep 0.1; done'"


@pytest.fixture
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestsRig]:
    """Four machines as their cloud hands them out."""
    cloud = provider("oci")
    plan = designs.topology(PRP, 2, TunnelOptions(), cloud.mtu)
    with guests_rig.booted(tmp_path_factory.mktemp("guests"), plan) as made:
        yield made


def type_in(guests: GuestsRig, design: str) -> None:
    """The commands of a design on each machine; every path from the spokes delivers when they have been run."""
    for name, script in TYPED[design].items():
        guests.hosts[name].console("run", script)
    for name, other in (("spoke1", "172.16.254.3"), ("spoke2", "172.16.254.2")):
        guests.hosts[name].console("run", DELIVERS.format(hosts=f"172.16.254.1 172.16.254.200 {other}"))
        if design == BOND:  # whose kernel notices within a second or so that it carries
            guests.hosts[name].console("run", SETTLED)


@pytest.mark.parametrize("design", TYPED)
def test_two_hubs_are_recognised_and_conform(
    guests: GuestsRig, tmp_path: Path, capsys: pytest.CaptureFixture[str], design: str
) -> None:
    """In any order of the hosts the two hubs are recognised; every MUST holds, and nothing changes."""
    type_in(guests, design)
    before = guests.state()

    tests = () if design == PRP else (*MADE_AS_PLANNED, "tests/redundancy")  # the whole suite once, which takes minutes
    done, result = run(guests, tmp_path, HOSTS, "-v", *tests)
    report = ask(capsys, HOSTS, f"--ssh-config={guests.ssh_config}")

    assert set(by_outcome(result, "MUST")) in HELD, done.stdout[-6000:] + done.stderr
    assert result["findings"] == []
    assert result["environment"]["topology"] == design
    assert f"the hosts are a {design}: root@hub and root@hub2 are the hubs" in done.stdout
    assert "RED-01" in by_outcome(result, "MUST")["passed"]
    kind, module = ("bond", "bonding") if design == BOND else ("hsr", "hsr")
    assert report.lines("problem") == {}, report.text
    assert report.lines("ok")["root@spoke1 (spoke2)", module] == f"there is a {kind} already"
    assert guests.differences(before, SECONDS) == []


def test_a_spoke_that_uses_the_other_hub_conforms(guests: GuestsRig, tmp_path: Path) -> None:
    """After a hub has failed and recovered, a bond may stay with the other hub: every MUST still holds."""
    type_in(guests, BOND)
    guests.hosts["spoke1"].console("run", "ip link set bond1 type bond active_slave gretap2")
    guests.hosts["spoke1"].console("run", DELIVERS.format(hosts="172.16.254.1 172.16.254.3"))

    done, result = run(guests, tmp_path, HOSTS, "-v")

    assert set(by_outcome(result, "MUST")) in HELD, done.stdout[-6000:] + done.stderr
    assert result["findings"] == []


@pytest.mark.parametrize("design", TYPED)
def test_two_hubs_for_the_length_of_a_run(guests: GuestsRig, tmp_path: Path, design: str) -> None:
    """On machines as their cloud hands them out --provision makes the design, which conforms, and takes it away."""
    before = guests.state()

    tests = (*MADE_AS_PLANNED, "tests/redundancy")
    done, result = run(guests, tmp_path, IN_ORDER, "--provision", f"--topology={design}", *tests)

    assert set(by_outcome(result, "MUST")) in HELD, done.stdout[-6000:] + done.stderr
    assert set(by_outcome(result, "SHOULD")) in HELD
    assert "RED-01" in by_outcome(result, "MUST")["passed"]
    assert (result["findings"], result["environment"]["topology"]) == ([], design)
    assert guests.differences(before, SECONDS) == []
