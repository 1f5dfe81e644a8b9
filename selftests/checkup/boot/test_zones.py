"""
What firewalld accepts of an overlay after a boot, by the zones in which its NIC and its device are then.

    zone=trusted in a connection, ZONE= in an ifcfg file, <interface> in firewalld's own files, or the default zone
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.boot import firewall_persistence, zones
from lab.model import TunnelOptions
from lab.topology import topologies
from selftests.checkup.boot import boot_host
from selftests.checkup.boot.boot_states import NETWORK_MANAGER
from selftests.checkup.boot.test_persistence import named

PLAN = topologies.star(2, TunnelOptions(kind="gretap"))
SPOKE = PLAN.node("spoke1")
NIC, DEVICE = SPOKE.nic, SPOKE.device
PEER = PLAN.hub.endpoint
GRE = ["public", "protocols", "gre"]
IN_TRUSTED = ["trusted", "interfaces", DEVICE]
ZONES = [["public", "target", "default"], ["drop", "target", "DROP"], ["trusted", "target", "ACCEPT"]]
RULE = f'rule family="ipv4" source address="{PEER}" protocol value="gre" accept'


def given(device: str, zone: str, doubt: str = "") -> dict[str, str]:
    change = "sudo nmcli connection modify nic connection.zone {zone}"
    return {"device": device, "zone": zone, "path": "/etc/nic", "doubt": doubt, "change": change}


def lost(
    runtime: Sequence[list[str]],
    permanent: Sequence[list[str]],
    assigned: Sequence[dict[str, str]] = (),
    default: str = "public",
    services: dict[str, list[str]] | None = None,
) -> zones.LostZones:
    """What is lost of spoke1's zones; both lists in addition to three zones, and to the device in `trusted`."""
    firewall: dict[str, Any] = {
        "runtime": [*ZONES, IN_TRUSTED, *runtime],
        "permanent": [*ZONES, IN_TRUSTED, *permanent],
        "default": {"runtime": "public", "permanent": default},
        "services": services or {},
        "assigned": assigned,
    }
    return zones.lost(PLAN, SPOKE, firewall)


def policy(rule: str, zone: str = "ANY") -> list[list[str]]:
    return [["own", "ingress-zones", zone], ["own", "egress-zones", "HOST"], ["own", "rich rules", rule]]


NMCLI = "sudo nmcli connection modify nic connection.zone "
LOST = {
    "the NIC's zone by command": ([["trusted", "interfaces", NIC]], [], [], f"--zone=trusted --add-interface='{NIC}'"),
    "the NIC's zone by a connection, of the runtime": (
        [["trusted", "interfaces", NIC]],
        [["trusted", "interfaces", NIC]],
        [given(NIC, "")],
        f"{NMCLI}trusted",
    ),
    "the NIC in another zone by a file": ([GRE], [GRE], [given(NIC, "drop")], f"{NMCLI}public"),
    "the device's zone by a connection": ([GRE], [GRE], [given(DEVICE, "public")], f"{NMCLI}trusted"),
    "a source": ([["trusted", "sources", f"{PEER}/32"]], [], [], "--zone=trusted --add-source"),
    "a service": ([["public", "services", "gre"]], [], [], "--zone=public --add-service='gre'"),
    "a service of the host's own": (
        [["public", "services", "vpn"]],
        [],
        [],
        "--zone=public --add-service='vpn'",
    ),
    "a rich rule": ([["public", "rich rules", RULE]], [], [], f"--add-rich-rule='{RULE}'"),
    "a policy's rule": (policy(RULE), policy(RULE)[:2], [], "--policy=own --add-rich-rule="),
    "a policy for another zone": ([GRE], policy(RULE, "drop"), [], "--zone=public --add-protocol='gre'"),
    "a rule for another host": (
        [GRE],
        [["public", "rich rules", RULE.replace(PEER, "10.9.9.9")]],
        [],
        "--add-protocol='gre'",
    ),
    "a direct rule": (
        [["direct", "direct", "ipv4 filter INPUT 0 -p gre -j ACCEPT"]],
        [],
        [],
        "--direct --add-rule ipv4 filter INPUT 0 -p gre -j ACCEPT",
    ),
}
KEPT = {
    "as it is": ([GRE], [GRE], []),
    "the device's zone by a connection alone": ([GRE], [GRE], [given(DEVICE, "trusted")]),
    "the NIC's zone by a connection": ([["trusted", "interfaces", NIC]], [], [given(NIC, "trusted")]),
    "the NIC in another zone that accepts it too": ([GRE], [["trusted", "interfaces", NIC]], []),
    "a policy that accepts it in any zone": ([GRE], policy(RULE), [given(NIC, "drop")]),
    "a network as the source": ([["trusted", "sources", "10.0.0.0/8"]], [["trusted", "sources", "10.0.0.0/8"]], []),
    "a pattern of interfaces": ([["trusted", "interfaces", NIC]], [["trusted", "interfaces", "ens+"]], []),
    "what is not accepted now either": ([], [], []),
    "a connection that may not be used, of the same zone": ([GRE], [GRE], [given(NIC, "public", "why")]),
    "a service": ([["public", "services", "gre"]], [GRE], []),
}
UNKNOWN = {
    "a connection that may not be used": ([GRE], [GRE], [given(NIC, "drop", "why")], "why"),
    "two connections": ([GRE], [GRE], [given(NIC, "public"), given(NIC, "drop")], "several files give it a zone"),
    "an ipset": ([GRE], [GRE, ["drop", "sources", "ipset:own"]], [], "not evaluated"),
    "a rule that drops": (
        [GRE],
        [GRE, ["public", "rich rules", RULE.replace("accept", "drop")]],
        [],
        "not evaluated",
    ),
    "a limit": ([GRE], [["public", "rich rules", f'{RULE} limit value="1/m"']], [], "not evaluated"),
}
SERVICES = {"gre": ["gre"], "vpn": ["500/udp", "gre"]}


@pytest.mark.parametrize("name", LOST)
def test_what_a_boot_closes_is_reported(name: str) -> None:
    """The finding's fix keeps the entry, the source or the zone: where the zone at boot comes from."""
    runtime, permanent, files, fix = LOST[name]
    result = lost(runtime, permanent, files, services=SERVICES)
    assert [fix in one.remedy for one in result.found] == [True], result
    assert result.unknown == ""


@pytest.mark.parametrize("name", KEPT)
def test_what_a_boot_leaves_open_is_not_reported(name: str) -> None:
    """Zones, policies and sources that accept the overlay after a boot, too."""
    assert lost(*KEPT[name], services=SERVICES) == zones.LostZones()


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_not_judged(name: str) -> None:
    """Where it depends on something that is not evaluated, there is a reason and no finding."""
    runtime, permanent, files, why = UNKNOWN[name]
    result = lost(runtime, permanent, files)
    assert result.found == ()
    assert why in result.unknown
    assert "cannot be determined" in result.unknown


def test_another_default_zone_counts() -> None:
    """A NIC in no zone is in the default zone, which may be another after a boot."""
    (found,) = lost([GRE], [GRE], default="drop").found
    assert f"firewalld has {NIC} in zone public at runtime only: after a boot or reload it is in drop" in found.summary


@pytest.mark.parametrize("starts", [True, False])
def test_a_firewalld_that_only_a_boot_starts_is_not_judged(starts: bool) -> None:
    """Where firewalld does not run now, what it accepts after a boot is unknown; without it, there is no answer."""
    answer = {"runs": False, "starts": starts, "unread": ""}
    result = firewall_persistence.of_firewalld(PLAN, SPOKE, answer)
    assert result.applies == starts
    assert ("it does not run now, but a boot starts it" in result.unread) == starts


class Files(NamedTuple):
    """A host's files, the units that a boot starts, and other changes."""

    files: Mapping[str, str]
    enabled: tuple[str, ...] = ()
    done: str = "true"


CONNECTION = "/etc/NetworkManager/system-connections/nic.nmconnection"
KEYFILE = f"[connection]\nid=my nic\ntype=ethernet\ninterface-name={boot_host.NIC}\nzone=work\n"
IFCFG = f"/etc/sysconfig/network-scripts/ifcfg-{boot_host.NIC}"
OWN = f"chmod 600 {CONNECTION}"
MANAGED = "NetworkManager.service"
BY_SCRIPTS = "network.service"
OTHER = CONNECTION.replace("nic.", "other.")
ASSIGNED = {
    "a connection": (Files({CONNECTION: KEYFILE}, (MANAGED,), OWN), [("work", "")]),
    "a connection without a zone": (
        Files({CONNECTION: KEYFILE.replace("zone=work\n", "")}, (MANAGED,), OWN),
        [("", "")],
    ),
    "a connection of any ethernet": (
        Files({CONNECTION: KEYFILE.replace(f"interface-name={boot_host.NIC}\n", "")}, (MANAGED,), OWN),
        [("work", "")],
    ),
    "a connection that is not started": (
        Files({CONNECTION: KEYFILE.replace("id=", "autoconnect=false\nid=")}, (MANAGED,), OWN),
        [("", "makes a connection for")],
    ),
    "a connection that others may read": (
        Files({CONNECTION: KEYFILE}, (MANAGED,), f"chmod 644 {CONNECTION}"),
        [("", "makes a connection for")],
    ),
    "NetworkManager is not enabled": (Files({CONNECTION: KEYFILE}, (), OWN), []),
    "no file": (Files({}, (MANAGED,)), [("", "makes a connection for")]),
    "ifcfg": (
        Files({IFCFG: f'DEVICE="{boot_host.NIC}"\nZONE="work"\n'}, (BY_SCRIPTS,)),
        [("work", "")],
    ),
    "ifcfg, not read at boot": (Files({IFCFG: f"DEVICE={boot_host.NIC}\nZONE=work\nONBOOT=no\n"}), []),
    "two connections": (
        Files({CONNECTION: KEYFILE, OTHER: KEYFILE.replace("work", "drop")}, (MANAGED,), f"{OWN} {OTHER}"),
        [("work", ""), ("drop", "")],
    ),
    "netplan, written before": (
        Files(
            {
                f"/run/NetworkManager/system-connections/netplan-{boot_host.NIC}": KEYFILE,
                "/etc/netplan/50.yaml": "network: {version: 2, renderer: NetworkManager}\n",
            },
            (MANAGED,),
            "chmod 600 /run/NetworkManager/system-connections/* /etc/netplan/*",
        ),
        [("work", "/etc/netplan/50.yaml is newer than")],
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="a host's files of its own need root: run with sudo")
def test_the_zones_that_files_give_the_nic_are_read() -> None:
    """The zone by each file that a boot uses, and why one may not be used."""
    if not Path(NETWORK_MANAGER[0]).exists():
        pytest.skip("NetworkManager is missing: apt-get install --no-install-recommends network-manager")
    states = [
        {"files": one.files, "enabled": one.enabled, "done": one.done, "zones": True} for one, _ in ASSIGNED.values()
    ]
    for (name, (_, expected)), found in zip(ASSIGNED.items(), named(states, []), strict=True):
        seen = [(one["zone"], one["doubt"]) for one in found if one["device"] == boot_host.NIC]
        assert [zone for zone, _ in seen] == [zone for zone, _ in expected], (name, found)
        for (_, doubt), (_, why) in zip(seen, expected, strict=True):
            assert (bool(doubt), why in doubt) == (bool(why), True), (name, found)
