"""
What a boot makes of hosts in fifteen states of their files, on one overlay: the doctor answers each state rightly.

    hub, spoke1, spoke2: an overlay by commands ── for each round other files on each host ── doctor ──▶ three answers
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.boot.common import Files
from lab.boot.daemons import IFUP, NETWORK_MANAGER, NETWORKD
from lab.boot.formats import ifupdown, networkd, networkmanager, shell
from lab.model import NodePlan, Topology
from selftests.live.persistence import daemons
from selftests.live.persistence.test_boot import after_a_reboot, made
from selftests.live.rig import Rig, RigHost

pytestmark = pytest.mark.skipif(
    not daemons.installed(NETWORKD, NETWORK_MANAGER, IFUP),
    reason="a tool is missing: apt-get install --no-install-recommends ifupdown network-manager systemd",
)
FOLDERS = (
    *(networkd.FOLDER, networkmanager.FOLDER, "/etc/network", "/usr/local/sbin", "/etc/systemd/system"),
    *(folder for folder in ("/etc/cron.d",) if Path(folder).is_dir()),
)
WANTS = "/etc/systemd/system/multi-user.target.wants"
BY_NETWORKD, BY_IFUPDOWN, BY_MANAGER = "systemd-networkd", "networking", "NetworkManager"
SOURCED = {"/etc/network/interfaces": "source /etc/network/interfaces.d/*\n"}


@dataclass(frozen=True)
class FileState:
    """The files of a host, by its plan, and the expected answer; `done`: other changes to them."""

    files: Callable[[Topology, NodePlan], Mapping[str, str]]
    enabled: str
    state: str
    found: str
    done: str = "true"


def edited(write: Callable[[Topology, NodePlan], Files], old: str, new: str) -> Callable[[Topology, NodePlan], Files]:
    return lambda plan, node: {path: text.replace(old, new) for path, text in write(plan, node).items()}


def of_stanza(plan: Topology, node: NodePlan) -> Files:
    return {**SOURCED, **ifupdown.files(plan, node)}


def of_another_nic(plan: Topology, node: NodePlan) -> Files:
    made = [line for line in shell.files(plan, node)[shell.SCRIPT].splitlines() if line.startswith("    ip ")]
    stanza = "\n".join(["auto eth0", "iface eth0 inet manual", *(f"    up {line.strip()}" for line in made)])
    return {**SOURCED, ifupdown.FILE: f"{stanza}\n"}


def of_cron(plan: Topology, node: NodePlan) -> Files:
    script = shell.files(plan, node)[shell.SCRIPT]
    return {"/etc/cron.d/overlay": f"@reboot root {shell.SCRIPT} up\n", shell.SCRIPT: script}


def before(plan: Topology, node: NodePlan) -> Files:
    first = "[Match]\nName=vx* bridge*\n[Network]\nDHCP=yes\n"
    return {f"{networkd.FOLDER}/10-all.network": first, **networkd.files(plan, node)}


def without_netdevs(plan: Topology, node: NodePlan) -> Files:
    return {path: text for path, text in networkd.files(plan, node).items() if path.endswith(".network")}


PRIVATE = f"chmod 600 {networkmanager.FOLDER}/*"
RENAMED = f"""
mac=$(ip -o link show ens3 | sed 's/.*ether //; s/ .*//')
printf '%s\\n' [Match] "MACAddress=$mac" [Link] Name=wan0 >{networkd.FOLDER}/10-wan.link
"""
ROUNDS = [
    [
        FileState(networkd.files, BY_NETWORKD, "ok", "are named in /etc/systemd/network/50-"),
        FileState(before, BY_NETWORKD, "warning", "10-all.network matches the same device and comes first"),
        FileState(
            edited(networkd.files, "[Match]", "[Match]\nHost=other"), BY_NETWORKD, "warning", "Host=other does not hold"
        ),
    ],
    [
        FileState(without_netdevs, BY_NETWORKD, "warning", "which this host does not have at boot"),
        FileState(networkd.files, "", "warning", "systemd-networkd.service is not enabled"),
        FileState(
            networkd.files,
            BY_NETWORKD,
            "warning",
            "systemd-networkd.service is masked",
            "ln -sf /dev/null /etc/systemd/system/systemd-networkd.service",
        ),
    ],
    [
        FileState(networkmanager.files, BY_MANAGER, "ok", "are named in /etc/NetworkManager/", PRIVATE),
        FileState(
            edited(networkmanager.files, "[connection]", "[connection]\npermissions=user:opc:"),
            BY_MANAGER,
            "warning",
            "it has permissions=user:opc:",
            PRIVATE,
        ),
        FileState(of_another_nic, BY_IFUPDOWN, "warning", "it uses eth0, which this host does not have at boot"),
    ],
    [
        FileState(of_stanza, BY_IFUPDOWN, "ok", f"are named in {ifupdown.FILE}"),
        FileState(edited(of_stanza, "auto vxlan1", ""), BY_IFUPDOWN, "warning", "it has no `auto vxlan1`"),
        FileState(of_cron, "cron", "ok", f"are named in {shell.SCRIPT}"),
    ],
    [
        FileState(shell.files, "overlay", "ok", f"are named in {shell.SCRIPT}"),
        FileState(
            edited(shell.files, "[Unit]", "[Unit]\nConditionHost=other"), "overlay", "warning", "ConditionHost=other"
        ),
        FileState(shell.files, "overlay", "warning", "10-wan.link renames to wan0 at boot", RENAMED),
    ],
]


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Topology]]:
    with made("shell", "star", tmp_path_factory.mktemp("rig")) as (rig, plan, _):
        yield rig, plan


def write(host: RigHost, plan: Topology, state: FileState) -> None:
    """Gives a host the files of a state, and no others."""
    daemons.cover(host, [f"{folder}/file" for folder in FOLDERS])
    daemons.shell(host, "tar -x -C /", stdin=daemons.packed(state.files(plan, plan.node(host.name))))
    unit = f"{state.enabled}.service"
    enabled = f"ln -s ../{unit} {WANTS}/{unit}" if state.enabled else "true"
    daemons.shell(host, f"mkdir -p {WANTS}\n{enabled}\n{state.done}")


@pytest.mark.parametrize("states", ROUNDS, ids=["match", "networkd", "NetworkManager", "stanzas", "scripts"])
def test_each_state_of_files_is_answered(
    overlay: tuple[Rig, Topology], capsys: pytest.CaptureFixture[str], states: list[FileState]
) -> None:
    """What lasts is named with its files, and what does not with the reason; on three hosts at a time."""
    rig, plan = overlay
    for host, state in zip(rig.hosts.values(), states, strict=True):
        write(host, plan, state)

    checks = after_a_reboot(rig, capsys)

    for name, state in zip(rig.hosts, states, strict=True):
        check = checks[name]
        assert (check["state"], state.found in check["found"]) == (state.state, True), (name, check["found"])
        assert bool(check["fix"]) == (state.state != "ok")
