"""Labs that a command breaks, outside of a run: broken, explained, corrected by the printed fixes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from lab import laboratory
from lab.building import SETTLE
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.machines.node import Agent
from lab.model import Finding
from lab.overlay import commands

UP = " && ip link set {port} up"
BRIDGED = " && ip link set {port} up master bridge0"
PLACED = (
    " && ip link set {device} up && ip addr add 172.16.254.3/24 dev {device} && ip route add 224.0.0.0/4 dev {device}"
)


@dataclass(frozen=True)
class Case:
    """A lab other than the usual one, what breaks it, and the host of the finding."""

    host: str
    commands: dict[str, str]
    kind: str = "vxlan"
    routers: int = 0
    ipv6: bool = False
    topology: str = "star"


def found(lab: laboratory.Lab) -> tuple[Finding, ...]:
    lab.forget_neighbours()
    return explain(scene.gather(lab))


def run(lab: laboratory.Lab, host: str, command: str) -> None:
    done = lab.nodes[host].run("sh", "-ec", command)
    if "not found" in done["errors"] or ("unknown" in done["errors"].lower() and "protodown" in command):
        pytest.skip(f"{command}: {done['errors'].strip()}")
    assert done["status"] == 0, f"{host}: {command}: {done['errors']}"


def broken(lab: laboratory.Lab, host: str, command: str) -> str:
    """
    The command with the names of the lab's devices.

    `{remade}` is the tunnel again, with one other parameter; `{bare}` the same, but not a port of the bridge.
    """
    port, other = (lab.topology.port("hub", name) for name in ("spoke2", "spoke1"))
    device = lab.topology.port("spoke2", "hub")
    if command.startswith(("{remade}", "{bare}")):
        word, *value = command.split()[1:]
        said = commands.parameters(lab.topology, lab.plans[host], "spoke2" if host == "hub" else "hub")
        if word == "nopmtudisc":  # the kernel accepts a TTL only with path MTU discovery
            said = re.sub(r"ttl \S+", "ttl inherit", said)
        said = f"{re.sub(rf'(?<= ){word} [^ ]+', '', said)} {word} {' '.join(value)}"
        name, placed = ("{port}", BRIDGED) if host == "hub" else ("{device}", PLACED)
        placed = UP if command.startswith("{bare}") else placed
        command = f"ip link del {name} && ip link add {name} {said}{placed}"
    mac = lab["spoke1"].node.link(lab.plans["spoke1"].device).mac
    return command.format(port=port, device=device, other=other, mac=mac)


def corrected(lab: laboratory.Lab, before: Iterable[Finding]) -> None:
    """Runs every printed fix once, on the host it names; then there is no finding."""
    for host, fix in dict.fromkeys((finding.node, finding.remedy) for finding in before):
        run(lab, host, fix)
        if host in lab.plans and lab.plans[host].holder == "bond":  # it carries once a hub has answered its ARP probe
            lab.nodes[host].ask(Agent.settle, devices=[lab.plans[host].device], timeout=SETTLE)
    assert found(lab) == (), [finding.remedy for finding in before]
