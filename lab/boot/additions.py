"""
The command that adds what a host's files lack to the tool that makes the rest: one line, for the host's own shell.

    gretap1 made by hand, the NIC by networkd              ──▶  50-gretap1.netdev, .network, as `overcast plan` has them
    gretap1 by 10-vpn.network, no multicast route in it    ──▶  10-vpn.network.d/multicast.conf
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.boot import common
from lab.boot.common import Files, NamedFiles
from lab.boot.formats import ifupdown, netplan, networkd, networkmanager, shell
from lab.errors import UsageProblem
from lab.model import NodePlan, Topology, TunnelOptions
from lab.overlay import commands

SHELL = "systemd"
"""The tool of a script and its unit, which every host with systemd has."""
LONGEST = 16000
"""Characters of a command; a longer one is replaced by the files of `overcast plan`."""
WRITES: Mapping[str, tuple[str, Callable[[Topology, NodePlan], Files]]] = {
    "systemd-networkd": ("networkd", networkd.files),
    "netplan": ("netplan", netplan.files),
    "NetworkManager": ("networkmanager", networkmanager.files),
    "ifupdown": ("ifupdown", ifupdown.files),
    SHELL: ("shell", shell.files),
}
"""The format of `overcast plan` and its files, by the tool that reads them at boot."""
BY_DEVICE = ("systemd-networkd", "NetworkManager")
"""The tools that have files for each device."""
RUN = ("ifupdown", SHELL)
"""The tools whose files run `sysctl` for the file of the kernel parameters."""
INCLUDED = "grep -q interfaces.d /etc/network/interfaces || echo 'source /etc/network/interfaces.d/*'"
AFTER = {
    SHELL: "sudo systemctl enable overlay.service",
    "ifupdown": f"{{ {INCLUDED} | sudo tee -a /etc/network/interfaces; }}",
}
"""What has a boot use the files, where that takes more than files."""


QUOTE, CLOSED = "'", "'\\''"


@dataclass(frozen=True)
class BootedHost:
    """A host's place in an overlay, the tool that manages its NIC, and the files that a boot uses, with their words."""

    topology: Topology
    node: NodePlan
    manager: str
    used: NamedFiles

    def naming(self, *words: str) -> list[Mapping[str, Any]]:
        return [file for file in self.used if {*words} <= {*file["words"]}]


def format_of(tool: str) -> str:
    """The format of `overcast plan` for a tool."""
    return WRITES[tool if tool in WRITES else SHELL][0]


def command(host: BootedHost, lacking: Collection[str]) -> str:
    """
    What adds `lacking` to the host's files: devices, the group of the multicast route, addresses; "" where unknown.

    Devices that no file has get the files of `overcast plan`.  A file that has the device is written again if it is one
    that `plan` writes; a route is added to any.
    """
    topology, node, group = host.topology, host.node, str(host.topology.multicast_route)
    if devices := [device for device in topology.devices(node.name) if device in lacking]:
        made = _new(host, devices)
        routed = _routed(host, node.device) if made and group in lacking else ""
        made += f" && {routed}" if routed else ""
    elif {*lacking} == {group}:
        made = _routed(host, node.device) or _again(host, [node.device])
    else:
        ports = [port for port, peer in common.ports(topology, node).items() if _end(topology, peer) in lacking]
        made = _again(host, [node.device, *ports] if str(node.overlay.ip) in lacking else ports)
    return made if len(made) <= LONGEST else ""


def _end(topology: Topology, peer: str) -> str:
    return topology.node(peer).endpoint


def _new(host: BootedHost, devices: Sequence[str]) -> str:
    """Writes the files of devices that no file has, by the tool of the others, or else by that of the NIC."""
    all_devices = host.topology.devices(host.node.name)
    tools = {file["tool"] for device in all_devices for file in host.naming(device)}
    if not tools:
        tool = host.manager if _supports(host, host.manager) else SHELL
        return _written(tool, host, all_devices if tool in BY_DEVICE else None)
    tool = next(iter(tools))
    if len(tools) > 1 or not _supports(host, tool):
        return ""
    if tool in BY_DEVICE:
        return _written(tool, host, devices)
    return _again(host, [device for device in all_devices if device not in devices])


def _again(host: BootedHost, devices: Sequence[str]) -> str:
    """Writes files again that `overcast plan` has written; "" where another file has one of the devices."""
    files = [file for device in devices for file in host.naming(device)]
    tools = {file["tool"] for file in files}
    if len(tools) != 1 or not _supports(host, *tools):
        return ""
    (tool,) = tools
    own = WRITES[tool][1](host.topology, host.node)
    if any(file["path"] not in own for file in files):
        return ""
    return _written(tool, host, devices if tool in BY_DEVICE else None)


def _supports(host: BootedHost, tool: str) -> bool:
    """Whether the files of `overcast plan` for a tool make this overlay."""
    if tool not in WRITES:
        return False
    options = host.topology.options
    plain = TunnelOptions(options.kind, options.ttl, options.local, port=options.port)
    # other options of a tunnel are those of ip(8) alone, which a script and a stanza use
    if tool not in RUN and (plain != options or (options.ttl is None and tool != "systemd-networkd")):
        return False
    try:
        return bool(WRITES[tool][1](host.topology, host.node))
    except UsageProblem:
        return False


def _written(tool: str, host: BootedHost, devices: Collection[str] | None) -> str:
    """Puts a tool's files in place; of `devices` only, where it has files for each device."""
    files = WRITES[tool][1](host.topology, host.node)
    if devices is not None:
        files = {path: text for path, text in files.items() if any(_is_of(path, device) for device in devices)}
    steps = [_installed(path, text) for path, text in files.items()]
    if tool in RUN:
        parameters = common.files(host.topology, host.node)[common.SYSCTLS]
        steps.append(f"{{ [ -e {common.SYSCTLS} ] || {_installed(common.SYSCTLS, parameters)}; }}")
    return " && ".join([*steps, *([AFTER[tool]] if tool in AFTER else [])])


def _is_of(path: str, device: str) -> bool:
    return path.rpartition("/")[2].partition(".")[0].partition("-")[2] == device


def _installed(path: str, text: str) -> str:
    mode = 755 if text.startswith("#!") else 600 if path.startswith((networkmanager.FOLDER, "/etc/netplan")) else 644
    lines = " ".join(f"'{line.replace(QUOTE, CLOSED)}'" for line in text.splitlines())
    return f"printf '%s\\n' {lines} | sudo install -D -m {mode} /dev/stdin {path}"


def _routed(host: BootedHost, device: str) -> str:
    """Adds the multicast route to the file that has a device; "" where that is no file of a tool with such an edit."""
    files = [file for file in host.naming(device) if file["tool"] in ROUTES]
    return next(filter(None, (ROUTES[file["tool"]](host, device, file["path"]) for file in files)), "")


def _of_netplan(device: str) -> str:
    """The unit that netplan generates: a file of netplan's own would need the whole device."""
    return f"{networkd.FOLDER}/10-netplan-{device}.network"


def _networkd_route(host: BootedHost, device: str, path: str) -> str:
    """A drop-in of a .network file."""
    settings = [f"{name}={value}" for name, value in networkd.WITHOUT_CARRIER.items()]
    lines = ["[Network]", *settings, "[Route]", f"Destination={host.topology.multicast_route}", "Scope=link"]
    text = f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} | sudo tee {path}.d/multicast.conf"
    return f"sudo mkdir -p {path}.d && {text} && sudo networkctl reload" if path.endswith(".network") else ""


def _network_manager_route(host: BootedHost, device: str, path: str) -> str:
    connection = f'"$(nmcli -g GENERAL.CONNECTION device show {device})"'
    changed = f"sudo nmcli connection modify {connection} +ipv4.routes {host.topology.multicast_route}"
    return f"{changed} && sudo nmcli device reapply {device}"


def _ifupdown_route(host: BootedHost, device: str, path: str) -> str:
    line = f"    up {commands.route(host.topology, host.node)}"
    return f"sudo sed -i '/^iface {device} inet /a\\{line}' {path}"


ROUTES: Mapping[str, Callable[[BootedHost, str, str], str]] = {
    "systemd-networkd": _networkd_route,
    "netplan": lambda host, device, path: _networkd_route(host, device, _of_netplan(device)),
    "NetworkManager": _network_manager_route,
    "ifupdown": _ifupdown_route,
}
"""What adds the multicast route to a tool's configuration: of a host, a device and the path of the file that has it."""
