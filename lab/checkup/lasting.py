"""
What of an overlay is still there after a reboot, as far as the files say that are read at boot.

For each device and the multicast route: a file that a boot uses names it (it lasts), one that a boot does not use
(what is in the way, and the fix), or none (made by hand).  A file may also say other than what is there now: then it
lacks the other end of a tunnel, or the overlay address.  That a file names all that does not prove that it makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.checkup.check import Check
from lab.machines.hosts import HostSpec
from lab.model import NodePlan, Topology

WHAT = "after a reboot"
MANAGERS = ("systemd-networkd", "ifupdown", "netplan", "NetworkManager", "network-scripts")
Named = Sequence[Mapping[str, Any]]
"""What the agent tells of each file (`boot_files.naming`)."""


def words(topology: Topology, node: NodePlan) -> list[str]:
    """What the files of a host must name."""
    return [*_parts(topology, node), *_facts(topology, node)]


def _parts(topology: Topology, node: NodePlan) -> dict[str, str]:
    """What is made, and how it is called to the user."""
    parts = {device: device for device in topology.devices(node.name)}
    return {**parts, str(topology.multicast_route.network_address): f"the multicast route {topology.multicast_route}"}


def _facts(topology: Topology, node: NodePlan) -> dict[str, str]:
    """What it is made with."""
    ends = {topology.node(peer).endpoint: "the other end of a tunnel" for peer in topology.peers(node.name)}
    return {str(node.overlay.ip): "the overlay address", **ends}


def check(spec: HostSpec, topology: Topology, node: NodePlan, named: Named, remedy: str) -> Check:
    """What a boot makes of a host's part of the overlay; `remedy` writes the files for it."""

    def warning(found: str, fix: str | None, *, at: str | None = None) -> Check:
        return Check("warning", spec.role, WHAT, found, fix, at=at)

    used = [file for file in named if not file["obstacle"]]
    lacking = {word: part for word, part in _parts(topology, node).items() if not _naming(used, word)}
    in_the_way = [file for file in named if file["obstacle"] and lacking.keys() & set(file["words"])]
    unread = [file["path"] for file in named if file["unread"]]
    if in_the_way:
        first = in_the_way[0]
        same = [file["path"] for file in in_the_way if file["obstacle"] == first["obstacle"]]
        return warning(f"{', '.join(same)} would make it, but {first['obstacle']}", first["fix"])
    if lacking and unread:
        fix = f"--sudo, or in --hosts: {spec.variant(sudo='true')}"
        return warning(f"not to be told: {', '.join(unread)} may not be read", fix, at="")
    if lacking:
        what = ", ".join(lacking.values())
        return warning(f"no file that is read at boot names {what}: made by hand, and gone then", remedy, at="")
    found = ", ".join(
        dict.fromkeys(file["path"] for file in used if set(file["words"]) & _parts(topology, node).keys())
    )
    for word, fact in _facts(topology, node).items():
        if not _naming(used, word):
            other = f"{found} would make it, but without {fact} {word}, which it has now"
            return warning(other, f"grep -n {node.device} {found.replace(',', '')}    # then correct what differs")
    for device in topology.devices(node.name):
        tools = {file["tool"]: file["path"] for file in _naming(used, device) if file["tool"] in MANAGERS}
        if len(tools) > 1:
            both = " and ".join(f"{tool} ({path})" for tool, path in tools.items())
            return warning(f"{device} is made by {both}: which of them wins is not certain", "keep one of the files")
    return Check("ok", spec.role, WHAT, f"its devices and the multicast route are named in {found}")


def _naming(files: Named, word: str) -> Named:
    return [file for file in files if word in file["words"]]


def written(topology: Topology) -> str:
    """The command that writes the files of this overlay."""
    hubs = ",".join(node.endpoint for node in topology.hubs)
    spokes = ",".join(node.endpoint for node in topology.spokes)
    first = topology.spokes[0]
    shape = "" if hubs else {"mesh": "flood-list", "bridge": "mesh"}.get(first.holder, "pair")
    options = [f"--hub={hubs}" if hubs else "", f"--spokes={spokes}", f"--topology={shape}" if shape else ""]
    options += [f"--tunnel={topology.options.kind}", f"--overlay-subnet={first.overlay.network}", f"--nic={first.nic}"]
    return " ".join(["./overcast plan", *filter(None, options), "--format=shell"])
