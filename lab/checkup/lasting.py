"""
What of an overlay is still there after a reboot, as far as the files say that are read at boot.

A device, the multicast route: named by a file that counts, or by none.  That a file names a device does not prove that
it makes it; that no file does is what is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.checkup.check import Check
from lab.checkup.looking import Host
from lab.model import NodePlan, Topology

WHAT = "after a reboot"


def words(topology: Topology, node: NodePlan) -> list[str]:
    """What the files of a host must name."""
    return [*topology.devices(node.name), str(topology.multicast_route.network_address)]


def check(host: Host, topology: Topology, node: NodePlan, named: Mapping[str, Any], remedy: str) -> Check:
    """What is named on a host by no file that counts; which files name the rest."""
    files: Mapping[str, list[str]] = named["files"]
    route = str(topology.multicast_route.network_address)
    lacking = [word for word in words(topology, node) if not files[word]]
    if not lacking:
        found = list(dict.fromkeys(path for paths in files.values() for path in paths))
        return Check("ok", host.role, WHAT, f"its devices and the multicast route are named in {', '.join(found)}")
    if named["unread"]:
        hidden = f"not to be told: {', '.join(named['unread'])} may not be read"
        return Check(
            "warning", host.role, WHAT, hidden, f"--sudo, or in --hosts: {host.spec.variant(sudo='true')}", at=""
        )
    if named["idle"]:
        idle = f"{', '.join(named['idle'])} would make it, but systemd-networkd is not enabled"
        return Check("warning", host.role, WHAT, idle, "sudo systemctl enable systemd-networkd")
    what = [word if word != route else f"the multicast route {topology.multicast_route}" for word in lacking]
    found_none = f"no file that is read at boot names {', '.join(what)}: made by hand, and gone then"
    return Check("warning", host.role, WHAT, found_none, remedy, at="")


def written(topology: Topology) -> str:
    """The command that writes the files of this overlay."""
    hubs = ",".join(node.endpoint for node in topology.hubs)
    spokes = ",".join(node.endpoint for node in topology.spokes)
    first = topology.spokes[0]
    shape = "" if hubs else {"mesh": "flood-list", "bridge": "mesh"}.get(first.holder, "pair")
    options = [f"--hub={hubs}" if hubs else "", f"--spokes={spokes}", f"--topology={shape}" if shape else ""]
    options += [f"--tunnel={topology.options.kind}", f"--overlay-subnet={first.overlay.network}", f"--nic={first.nic}"]
    return " ".join(["./overcast plan", *filter(None, options), "--format=shell"])
