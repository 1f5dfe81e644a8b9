"""
What of an overlay is still there after a reboot, as far as the files say that are read at boot.

For each device and the multicast route: a file that a boot uses names it (it lasts), one that a boot does not use
(what is in the way, and the fix), or none (made by hand).  A file may also say other than what is there now: then it
lacks the other end of a tunnel, or the overlay address.  That a file names all that does not prove that it makes it.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lab import tunnels
from lab.boot import additions
from lab.boot.common import NamedFiles
from lab.machines.base import Call
from lab.machines.node import Agent, Node
from lab.model import Finding, NodePlan, Topology
from lab.output.finding_text import for_good
from lab.overlay.recognition.readback import BROADCAST_PING, ConfiguredNode

ANSWERED = for_good(f"sudo sysctl -w {BROADCAST_PING}=0")
"""The command by which a host answers broadcast pings after a boot."""
MANAGERS = ("systemd-networkd", "ifupdown", "netplan", "NetworkManager", "network-scripts")
MADE = (
    *("tunnel-missing", "bridge-missing", "bond-missing", "prp-missing", "port-not-bridged"),
    *("overlay-address-missing", "hub-address-missing", "multicast-route-missing", "multicast-route-narrow"),
)
"""The findings that a file corrects for good."""
UNDETERMINED = "cannot be determined"
"""In the obstacle of a file that the agent cannot judge."""
LEAST = 1500
"""The MTU of a NIC that was not read."""
"""The agent's data about each file (`boot_files.naming`)."""


def words(topology: Topology, node: NodePlan) -> list[str]:
    """What the files of a host must name."""
    return [*parts(topology, node), *_facts(topology, node)]


def parts(topology: Topology, node: NodePlan) -> dict[str, str]:
    """What is made, and how it is called to the user."""
    parts = {device: device for device in topology.devices(node.name)}
    return {**parts, str(topology.multicast_route): f"the multicast route {topology.multicast_route}"}


def _facts(topology: Topology, node: NodePlan) -> dict[str, str]:
    """What it is made with."""
    ends = {topology.node(peer).endpoint: "the other end of a tunnel" for peer in topology.peers(node.name)}
    return {str(node.overlay.ip): "the overlay address", **ends}


def sized(topology: Topology, hosts: Mapping[str, ConfiguredNode]) -> Topology:
    """The same overlay with the MTU of most of its tunnels, which files need: at boot a tunnel may precede its NIC."""
    kind, tunnelling, nics = tunnels.kind(topology.options.kind), Counter[int](), []
    for node in topology.nodes:
        devices = hosts[node.name].devices
        ports = topology.ports(node.name) or [node.device]
        tunnelling.update(devices[port].mtu for port in ports if port in devices and devices[port].kind == kind.name)
        nics += [devices[node.nic].mtu] if node.nic in devices else []
    mtu = tunnelling.most_common(1)[0][0] if tunnelling else min(nics, default=LEAST) - kind.overhead(topology.options)
    return replace(topology, mtu=mtu)


def findings(
    topology: Topology, node: NodePlan, named: NamedFiles, manager: str, seen: ConfiguredNode | None = None
) -> Iterator[Finding]:
    """
    What a boot would not make of a host's part of the overlay, or otherwise.

    `manager` is the tool that makes the host's network (`boot_manager.manager`): a fix writes files for it.  With
    `seen`, the host as it is now, also the settings in files that differ.
    """
    used = [file for file in named if not file["obstacle"]]
    own = additions.BootedHost(topology, node, manager, used)
    doubtful = {word for file in undetermined(topology, node, named) for word in file["words"]}
    if doubtful & parts(topology, node).keys():
        return
    lacking = {word: part for word, part in parts(topology, node).items() if not naming(used, word)}
    unused: dict[tuple[str, str], list[str]] = {}
    for file in named:
        if file["obstacle"] and lacking.keys() & set(file["words"]):
            unused.setdefault((file["obstacle"], file["fix"]), []).append(file["path"])
    device = next((word for word in lacking if word in topology.devices(node.name)), node.device)

    def finding(code: str, summary: str, evidence: str, fix: str, requirement: str) -> Finding:
        return Finding(code, node.name, device, summary, evidence, fix, (requirement,))

    files_for_it = additions.command(own, lacking) or written(topology, manager) if lacking else ""
    for (obstacle, fix), paths in unused.items():
        summary = f"a boot does not use {', '.join(paths)}: {obstacle}"
        yield finding(
            "boot-file-unused", summary, f"they name {', '.join(lacking.values())}", fix or files_for_it, "BOOT-01"
        )
    if lacking and not unused and not unread(named):
        lost = ", ".join(lacking.values())
        summary = f"lost at the next boot: {lost} (made by hand, in no file that a boot reads)"
        yield finding("lost-at-boot", summary, "no file in /etc names it", files_for_it, "BOOT-01")
    if lacking:
        return
    paths = files(topology, node, named)
    for word, fact in _facts(topology, node).items():
        if word in doubtful or (word == str(node.overlay.ip) and _addressed(used, node)):
            continue
        found = [] if word == str(node.overlay.ip) else naming(used, word)
        if not found and (others := [file for file in naming(named, word) if file["obstacle"]]):
            file = others[0]
            summary = f"a boot does not use {file['path']}: {file['obstacle']}"
            fix = file["fix"] or additions.command(own, [word]) or written(topology, manager)
            yield finding("boot-file-unused", summary, f"it names {fact} {word}", fix, "BOOT-03")
        elif not found:
            summary = f"the next boot makes another overlay: {', '.join(paths)} lacks {fact} {word}"
            fix = f"grep -n {node.device} {' '.join(paths)}    # then correct what differs"
            if command := additions.command(own, [word]):
                fix = f"{command}    # or correct the overlay, if the file is right"
            yield finding("boot-file-differs", summary, f"{word} is in use now", fix, "BOOT-03")
    for path, device, setting, value, now in differing(topology, node, used, seen):
        summary = f"the next boot makes another overlay: {path} has {device} {setting} {value}; now: {now}"
        fix = f"grep -n -F {shlex.quote(value.partition(' ')[0])} {path}    # then correct it, or the overlay"
        if command := additions.command(own, [str(node.overlay.ip)]):
            fix = f"{command}    # or correct the overlay, if the file is right"
        yield finding("boot-file-differs", summary, f"{device} has {setting} {now} now", fix, "BOOT-03")
    for name in topology.devices(node.name):
        tools = {file["tool"]: file["path"] for file in naming(used, name) if file["tool"] in MANAGERS}
        if len(tools) > 1:
            both = " and ".join(f"{tool} ({path})" for tool, path in tools.items())
            fix = f"grep -n {name} {' '.join(tools.values())}    # then take it out of all but one"
            yield finding(
                "made-twice-at-boot", f"{name} is made by {both}", "which of them wins is not certain", fix, "BOOT-03"
            )


def _addressed(used: NamedFiles, node: NodePlan) -> bool:
    """Whether files give the device its overlay address, with any prefix."""
    addresses = [
        value for file in used for device, what, value in file["values"] if (device, what) == (node.device, "address")
    ]
    return any(re.split(r"[/ ]", address)[0] == str(node.overlay.ip) for address in addresses)


def differing(
    topology: Topology, node: NodePlan, used: NamedFiles, seen: ConfiguredNode | None
) -> Iterator[tuple[str, str, str, str, str]]:
    """The settings of the overlay's devices in files that differ: path, device, setting, value, and the value now."""
    present = _present(topology, node, seen)
    for path in dict.fromkeys(file["path"] for file in used):
        given: dict[tuple[str, str, str], str] = {}
        for device, setting, value in (one for file in used if file["path"] == path for one in file["values"]):
            which = value.partition("/")[0].partition(" ")[0] if setting == "address" else ""
            given[device, setting, which] = value
        for (device, setting, which), value in given.items():
            now = present.get((device, setting, which))
            if now is not None and now != value:
                yield path, device, setting, value, now


def _present(topology: Topology, node: NodePlan, seen: ConfiguredNode | None) -> dict[tuple[str, str, str], str | None]:
    """The settings of the overlay's devices now, under the words of ip-link(8); an address by itself."""
    found: dict[tuple[str, str, str], str | None] = {
        (node.device, "address", str(node.overlay.ip)): str(node.overlay),
    }
    for name in topology.devices(node.name) if seen else ():
        if seen is None or (device := seen.devices.get(name)) is None:
            continue
        settings: dict[str, object] = {"kind": device.kind, "mtu": device.mtu}
        settings |= {what: device.details.get(what) for what in ("stp_state", "mcast_snooping")}
        if end := device.tunnel:
            settings |= {"remote": end.remote, "local": end.local, "ttl": end.ttl or "inherit", "vni": end.vni}
            settings |= {"port": end.port, "key": end.input_key or "none"}
        routes = [one for one in seen.routes if one.dev == name and one.dst == str(topology.multicast_route)]
        settings["metric"] = routes[0].metric if routes else None
        found |= {(name, what, ""): None if value is None else str(value) for what, value in settings.items()}
    return found


def calls(node: Node, topology: Topology, plan: NodePlan) -> list[Call[Any]]:
    """The questions to a host: its files that name its part of the overlay, and the tool that makes its network."""
    return [node.call(Agent.named_at_boot, words(topology, plan)), node.call(Agent.manager_at_boot, plan.nic)]


def kept(topology: Topology, found: Iterable[Finding], booted: Mapping[str, Sequence[Any]]) -> Iterator[Finding]:
    """The findings with the commands by which their fixes last over a reboot; `booted`: answers to `calls` by host."""
    for finding in found:
        if finding.node in booted:
            named, manager, *_ = booted[finding.node]
            finding = replace(finding, lasting=_keeping(topology, topology.node(finding.node), named, manager, finding))
        yield finding


def _keeping(topology: Topology, node: NodePlan, named: NamedFiles, manager: str, finding: Finding) -> str:
    """The files for a finding, as a command; "" where a host has them, or it is unknown."""
    if finding.code not in MADE or unread(named) or undetermined(topology, node, named):
        return ""
    used = [file for file in named if not file["obstacle"]]
    own = additions.BootedHost(topology, node, manager, used)
    lacking = [word for word in (*parts(topology, node), str(node.overlay.ip)) if not naming(used, word)]
    unused = [file for file in named if file["obstacle"] and {*lacking} & {*file["words"]}]
    if unused and unused[0]["fix"]:
        return str(unused[0]["fix"])
    return additions.command(own, lacking) if lacking else ""


def ping(host: str, persisted: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Whether a host answers broadcast pings after a boot; `persisted` is from `prerequisites.examine`."""
    path, value = persisted.get(BROADCAST_PING, ("", ""))
    if value != "0":
        sets = f"{path} sets {BROADCAST_PING} to {value}" if path else f"no file of sysctl.d sets {BROADCAST_PING}"
        summary = f"{host} ignores broadcast pings after the next boot: {sets}"
        fix = f"sudo sed -i '/icmp_echo_ignore_broadcasts/d' {path} && {ANSWERED}" if path else ANSWERED
        yield Finding("ping-lost-at-boot", host, "", summary, f"expected {BROADCAST_PING} = 0", fix, ("BOOT-02",))


def unread(named: NamedFiles) -> list[str]:
    """The files that cannot be read: their content is unknown."""
    return [file["path"] for file in named if file["unread"]]


def undetermined(topology: Topology, node: NodePlan, named: NamedFiles) -> list[Mapping[str, Any]]:
    """The files that may have what no other has, as far as can be determined."""
    used = [file for file in named if not file["obstacle"]]
    lacking = {word for word in words(topology, node) if not naming(used, word)}
    return [file for file in named if UNDETERMINED in file["obstacle"] and lacking & {*file["words"]}]


def files(topology: Topology, node: NodePlan, named: NamedFiles) -> list[str]:
    """The files that a boot uses for a host's part of the overlay."""
    wanted = parts(topology, node).keys()
    return list(dict.fromkeys(file["path"] for file in named if not file["obstacle"] and wanted & set(file["words"])))


def naming(named: NamedFiles, word: str) -> NamedFiles:
    """The files that name a word."""
    return [file for file in named if word in file["words"]]


def written(topology: Topology, manager: str = "") -> str:
    """The command that writes the files of this overlay, for a tool; "" for one that is not set up on live hosts."""
    if any(map(topology.spans, topology.nodes)):  # which no plan is written of
        return ""
    hubs = ",".join(node.endpoint for node in topology.hubs)
    spokes = ",".join(node.endpoint for node in topology.spokes)
    first = topology.spokes[0]
    shapes = {"mesh": "flood-list", "bond": "two-hubs-bond", "prp": "two-hubs-prp"}
    shape = shapes.get(first.holder) or ("" if hubs else "mesh" if first.holder == "bridge" else "pair")
    options = [f"--hub={hubs}" if hubs else "", f"--spokes={spokes}", f"--topology={shape}" if shape else ""]
    options += [f"--tunnel={topology.options.kind}", f"--overlay-subnet={first.overlay.network}", f"--nic={first.nic}"]
    return " ".join(["./overcast plan", *filter(None, options), f"--format={additions.format_of(manager)}"])
