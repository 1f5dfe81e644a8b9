"""
A boot of live hosts without a reboot: their own files make the overlay in a lab, by the tools that make it on them.

    live hosts ── files (read-only) ──▶ a lab with the same hosts, NICs and addresses ── networkd, ... ──▶ overlay
         └────────────── what the boot does not make, or otherwise: one finding each ◀──────────────────────┘
"""

from __future__ import annotations

import base64
import fnmatch
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface
from typing import Any

from lab import laboratory
from lab.boot import daemons, persistence
from lab.boot.daemons import TOOLS
from lab.errors import EnvironmentProblem, RootNeeded
from lab.laboratory import BuiltLab
from lab.machines import program
from lab.machines.base import Machine
from lab.machines.node import Agent, Node, Observed, ask_all
from lab.machines.program import Program
from lab.model import Finding, NodePlan, Topology, Underlay
from lab.overlay.recognition import readback
from lab.overlay.recognition.readback import IPV6_OFF, ConfiguredNode
from lab.stack.changes import link_set
from lab.underlay import fabric

SHOWN = 4  # lines at the end of what a program said
WITHIN = 10.0  # seconds until the tools have made everything; two in practice
STARTING = 50.0  # seconds until they have started; firewalld takes two, on a busy machine ten
BOOTED, FAILED = "overcast: booted", "overcast: FAILED"
WIDEST = 8  # the shortest prefix of a lab's one subnet
SCRIPTED = ("systemd", "rc.local", "cloud-init", "cron")
"""The tools whose files are scripts, and the units or jobs that run them."""
UNREHEARSED = (
    (
        "/sysconfig/network-scripts/",
        "BOOT-01 reads it, but its tool is in RHEL alone; `sudo nmcli connection migrate` makes a keyfile of it",
    ),
    ("/NetworkManager/dispatcher.d/", "NetworkManager's dispatcher needs systemd; run it by hand"),
    ("/networkd-dispatcher/", "networkd-dispatcher needs systemd; run it by hand"),
    ("/etc/rc?.d/", "links of SysV are not started; run it by hand"),
    ("/etc/cloud/", "cloud-init is not started: its bootcmd did not run"),
    ("/var/lib/cloud/instance/", "cloud-init is not started: its bootcmd did not run"),
)
"""Files that are not booted, by a part of their paths, with the reason and what to do."""
BY_NETWORK_MANAGER = re.compile(r"\brenderer[\"']?:\s*[\"']?NetworkManager")
FIREWALLS = ("nft", "iptables", "firewalld")
VENDOR, OWN = "/usr/lib/firewalld/", "/etc/firewalld/"
AT_REBOOT = re.compile(r"^\s*@reboot\s", re.MULTILINE)
NEVER = "not rehearsed on any host: kernel modules, DHCP, units and jobs that do not name the overlay (docs/reboot.md)"
SYSCTLS = "sysctl.d"


@dataclass(frozen=True)
class CopiedFiles:
    """The files of one host's boot (`lab.agent.boot.copy`)."""

    files: Sequence[Mapping[str, Any]]
    unread: Sequence[str]
    zones: Sequence[Mapping[str, str]] = ()
    """The zones of firewalld that files give devices (`lab.agent.boot.zones`)."""
    undetermined: Mapping[str, str] = field(default_factory=dict)
    """Files that name the overlay, and why it is unknown whether a boot uses them."""

    @property
    def tools(self) -> list[str]:
        """The tools that boot them, in the order of a boot; netplan's files are for two others."""
        used = {str(file["tool"]) for file in self.files}
        if netplan := self.of("netplan"):
            used |= {"systemd-networkd"}
            used |= {"NetworkManager"} if any(BY_NETWORK_MANAGER.search(file["text"]) for file in netplan) else set()
        return [name for name in TOOLS if name in used]

    def of(self, *tools: str) -> list[Mapping[str, Any]]:
        return [file for file in self.files if file["tool"] in tools]


@dataclass(frozen=True)
class Rehearsed:
    """The lab after the boot, and what is not there as it is on the live hosts."""

    lab: BuiltLab
    nodes: Mapping[str, Observed]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    open: str = ""
    """Why the lab lets in packets that a host's firewall may drop after a boot; "" where it is as on the hosts."""


@dataclass(frozen=True)
class Failure:
    """A step of a host's boot that failed in the lab: a tool, or a command."""

    host: str
    step: str
    output: str

    def __str__(self) -> str:
        return f"{self.host}: {self.step} failed in the rehearsal: {self.output}"


def rehearse(machine: Machine, nodes: Mapping[str, Node], topology: Topology, underlay: Underlay) -> Rehearsed:
    """
    Boots the hosts of `nodes`, which are live, in a lab on a machine.

    EnvironmentProblem where a tool of theirs is not installed here, RootNeeded where their files cannot be read.
    """
    live = readback.read([nodes[plan.name] for plan in topology.nodes])
    copies = _copies(nodes, topology)
    lab = laboratory.build(machine, _flat(topology), Underlay(underlay.provider), overlay=False)
    try:
        programs = [boot(lab, lab.plans[name], copied, live[name]) for name, copied in copies.items()]
        failed = [one for program in programs for one in failures(program)]
        _settle(lab, topology, live)
        booted = readback.read([lab.nodes[name] for name in live])
    except BaseException:
        lab.close()
        raise
    notes = [*map(str, failed), *(note for name, copied in copies.items() for note in left_out(name, copied)), NEVER]
    found = [one for plan in topology.nodes for one in differences(topology, plan, live[plan.name], booted[plan.name])]
    observed = {name: Observed(name, machine, lab.nodes[name].handle) for name in live}
    return Rehearsed(lab, observed, tuple(found), tuple(notes), unloaded(failed))


def unloaded(failed: Sequence[Failure]) -> str:
    """The first firewall whose rules could not be loaded in the lab; "" for none."""
    return next((str(one) for one in failed if one.step in FIREWALLS), "")


def _copies(nodes: Mapping[str, Node], topology: Topology) -> dict[str, CopiedFiles]:
    """The files of each host's boot."""
    calls = [
        (nodes[plan.name], nodes[plan.name].call(Agent.copied_at_boot, persistence.words(topology, plan)))
        for plan in topology.nodes
    ]
    found = {plan.name: CopiedFiles(**answer) for plan, answer in zip(topology.nodes, ask_all(calls), strict=True)}
    for host, copied in found.items():
        require(host, copied)
    return found


def require(host: str, copied: CopiedFiles) -> None:
    """RootNeeded where a host's file cannot be read, EnvironmentProblem where its tool is not installed here."""
    if copied.unread:
        raise RootNeeded(f"copying {copied.unread[0]}", host)
    for name in copied.tools:
        if remedy := TOOLS[name].lack:
            lack = f"--rehearse: {host} boots by {name}, which is not installed here"
            raise EnvironmentProblem(lack, remedy=remedy)


def left_out(host: str, copied: CopiedFiles) -> Iterator[str]:
    """The files of a boot that the rehearsal does not use, with the reason."""
    for file in copied.files:
        path, tool, text = file["path"], file["tool"], file["text"]
        if why := next((why for part, why in UNREHEARSED if fnmatch.fnmatch(path, f"*{part}*")), ""):
            yield f"{host}: {path} was not rehearsed: {why}"
        elif tool == "cron" and len(AT_REBOOT.findall(text)) > len(file["commands"]):
            yield f"{host}: {path} was not rehearsed in full: a job at boot does not run as root"
    yield from (f"{host}: {path} was not rehearsed: {why}" for path, why in copied.undetermined.items())
    if copied.of("firewalld"):
        yield from (f"{host}: {one['path']}: {one['doubt']}" for one in copied.zones if one["doubt"])


def _flat(topology: Topology) -> Topology:
    """The same hosts in one subnet of the emulated cloud, whatever subnets they are in."""
    addresses = [node.underlay.ip for node in topology.nodes]
    network = topology.nodes[0].underlay.network
    while network.prefixlen > WIDEST and any(address not in network for address in addresses):
        network = network.supernet()
    if any(address not in network for address in addresses):
        raise EnvironmentProblem(f"--rehearse: no subnet of a lab has room for {', '.join(map(str, addresses))}")
    nodes = [
        replace(node, underlay=IPv4Interface((node.underlay.ip, network.prefixlen)), further=())
        for node in topology.nodes
    ]
    return replace(topology, nodes=tuple(nodes))


def boot(lab: BuiltLab, plan: NodePlan, copied: CopiedFiles, live: ConfiguredNode) -> Program:
    """Starts a host's tools in its node."""
    node = lab.nodes[plan.name]
    node.write_sysctls({IPV6_OFF: live.sysctls.get(IPV6_OFF) or "0"})
    if nic := live.devices.get(plan.nic):
        # by which a file may find it
        node.apply(link_set(plan.nic, mtu=nic.mtu, address=nic.mac))
    files = {"host.tar": _archive(copied), "boot.sh": boot_script(copied, plan)}
    return program.start(node, "sh", "-c", daemons.ROOM, package="util-linux", files=files)


def failures(one: Program) -> Iterator[Failure]:
    """Waits until all that a boot waits for has ended; what of it failed, with the last lines that it said."""
    lines: list[str] = []
    for line in one.await_output(BOOTED, within=STARTING).splitlines():
        lines.append(line.strip())
        if FAILED in line:
            said = "; ".join(lines[-SHOWN:-1]) or "no output"
            yield Failure(one.node.name, line.partition(FAILED)[2].strip(), said)
            lines.clear()


def boot_script(copied: CopiedFiles, plan: NodePlan) -> str:
    """The commands of a host's boot, in the order of one: parameters, daemons, units."""
    wanted = {"nic": plan.nic, "address": str(plan.underlay), "gateway": str(fabric.gateway_of(plan).ip)}
    steps = [("address", daemons.ADDRESSED.format(**wanted))]
    steps += [("sysctl", f"sysctl -e -q -p {_placed(file['path'])} || true") for file in copied.of(SYSCTLS)]
    used = copied.tools
    steps += [(name, TOOLS[name].start.format(**wanted)) for name in used]
    # a rehearsed NetworkManager leaves the NIC alone
    own = [one for one in copied.zones if one["device"] == plan.nic and not one["doubt"]] if "firewalld" in used else []
    zones = [f"--zone={one['zone']} " if one["zone"] else "" for one in own]
    steps += [("firewalld", f"firewall-cmd {zone}--change-interface={plan.nic}") for zone in zones]
    for file in copied.of(*SCRIPTED):
        after = "" if file["waits"] else " &"
        steps += [(line, f"sh -c {shlex.quote(line)}{after}") for line in file["commands"]]
    # not a subshell: before `||` the shell ignores its -e
    lines = [f"sh -ec {shlex.quote(step)} || echo {FAILED} {shlex.quote(name)}" for name, step in steps]
    return "\n".join([*lines, f"echo {BOOTED}", "wait", ""])


def _placed(path: str) -> str:
    """Where a file is put: a distribution's own folders are this machine's."""
    if path.startswith(VENDOR):
        return path.replace(VENDOR, OWN)
    return path if path.startswith("/etc/") else f"/run/sysctl.d/{path.rpartition('/')[2]}"


def _archive(copied: CopiedFiles) -> str:
    """The files as a tar in base64."""
    placed = {
        _placed(file["path"]) if file["tool"] in (SYSCTLS, "firewalld") else file["path"]: file["text"]
        for file in copied.files
    }
    return base64.b64encode(daemons.packed(placed)).decode()


def _settle(lab: BuiltLab, topology: Topology, live: Mapping[str, ConfiguredNode]) -> None:
    """Returns when every host has the links, addresses and routes of its live one, or at the deadline."""
    deadline = time.monotonic() + WITHIN
    for plan in topology.nodes:
        seen = live[plan.name]
        devices = [seen.devices[name] for name in topology.devices(plan.name) if name in seen.devices]
        names = [device.name for device in devices]
        wanted = {
            "links": [{what: getattr(device, what) for what in ("name", "up", "mtu", "master")} for device in devices],
            "addresses": [{"local": str(one.ip), "dev": name} for name, one in seen.addresses if name in names],
            "routes": [{"dst": route.dst, "dev": route.dev} for route in seen.routes if route.dev in names],
        }
        for what, entries in wanted.items():
            lab.nodes[plan.name].ask(Agent.await_entries, what, entries, max(0.0, deadline - time.monotonic()))


@dataclass(frozen=True)
class BootDifference:
    """One part of the overlay on a host, live and after the boot; None: not there."""

    device: str
    what: str
    live: str | None
    booted: str | None


def _differences(
    topology: Topology, plan: NodePlan, live: ConfiguredNode, booted: ConfiguredNode
) -> list[BootDifference]:
    """The devices of the overlay with what is on them, and the answer to broadcast pings."""
    devices = topology.devices(plan.name)
    was, now = _parts(live, devices), _parts(booted, devices)
    gone = {part for part in was if part[1] == "" and part not in now}
    return [
        BootDifference(device, what, was.get((device, what)), now.get((device, what)))
        for device, what in {**was, **now}
        if was.get((device, what)) != now.get((device, what)) and (not what or (device, "") not in gone)
    ]


def _parts(seen: ConfiguredNode, devices: Sequence[str]) -> dict[tuple[str, str], str]:
    """What a host has of devices, by device and what it is; a device itself is the one of no further name."""
    parts: dict[tuple[str, str], str] = {}
    for name in devices:
        if (device := seen.devices.get(name)) is None:
            continue
        # what a tunnel stands on has no effect: its local address chooses the NIC
        end = {what: value for what, value in vars(device.tunnel).items() if what != "link"} if device.tunnel else {}
        settings = {"mtu": device.mtu, "master": device.master, "up": device.up, "isolated": device.flag("isolated")}
        parts[(name, "")] = device.kind or ""
        parts |= {(name, what): str(value) for what, value in {**settings, **end}.items() if value is not None}
        parts |= {(name, f"flood entry {to}"): "there" for to in seen.floods.get(name, ())}
        parts |= {(name, f"address {address}"): "there" for address in seen.addresses_of(name)}
        parts |= {(name, f"route {route.dst}"): "there" for route in seen.routes if route.dev == name}
    return parts


def differences(topology: Topology, plan: NodePlan, live: ConfiguredNode, booted: ConfiguredNode) -> Iterator[Finding]:
    """What a rehearsed boot does not make of a host's part of the overlay, and what it makes otherwise."""
    found = _differences(topology, plan, live, booted)
    lost = [one for one in found if one.booted is None]
    if lost:
        parts = ", ".join(f"{one.device} {one.what}".strip() for one in lost)
        summary = f"a rehearsed boot does not make {parts}"
        evidence, remedy = (
            "there on the live host, not after its files were booted in a lab",
            persistence.written(topology),
        )
        yield Finding("lost-at-boot", plan.name, lost[0].device, summary, evidence, remedy, ("BOOT-04",))
    for one in found:
        if one.booted is None:
            continue
        what = f"{one.device} {one.what}".strip()
        now = "not there" if one.live is None else one.live
        summary = f"a rehearsed boot makes {what}: {one.booted}; on the live host: {now}"
        remedy = f"grep -rn {one.device} /etc    # then correct the file, or the live host"
        yield Finding("boot-file-differs", plan.name, one.device, summary, "rehearsed in a lab", remedy, ("BOOT-04",))
