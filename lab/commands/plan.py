"""`overcast plan`: writes the files that set an overlay up at boot, for each host, and where to install them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab import tunnels
from lab.boot import common, hosts
from lab.boot.common import Files
from lab.boot.formats import (
    ansible,
    cloud_init,
    firewalld,
    ifupdown,
    netplan,
    networkd,
    networkmanager,
    shell,
    terraform,
)
from lab.boot.hosts import FoundHosts, NamedHost
from lab.clouds import firmware
from lab.clouds.providers import DEFAULT_CLOUD, PROVIDERS, default_tunnel, for_tunnels, tunnel_note
from lab.commands.options import LIVE_OPTIONS, require_hosts, subnet, whole
from lab.errors import EnvironmentProblem, UsageProblem
from lab.model import IPV6_LEAST_MTU, NodePlan, Provider, Topology, TunnelOptions
from lab.topology import designs, topologies
from lab.tunnels.kind import TunnelKind

SUMMARY = "Writes the files that set an overlay up at boot, for each host, for the tool that --format names."
FOLDER = "overlay-files"
LEAST_MTU, MOST_MTU = IPV6_LEAST_MTU, 65535  # no NIC of a cloud has less
NIC = "ens3"
DEVICE_NAME = re.compile(r"(?!\.{1,2}$)[^\s/:]{1,15}")


@dataclass(frozen=True)
class Format:
    """A tool: what it is called, the files of a host, and what takes them into use."""

    title: str
    files: Callable[[Topology, NodePlan], Files]
    start: Callable[[NodePlan], str]
    alone: bool = False
    """Its file holds all others."""
    beside: Callable[[Topology, Mapping[str, str]], Files] | None = None
    """What stands beside the hosts' folders: the tool takes it from there to all of them."""


FORMATS = {
    "networkd": Format("systemd-networkd", networkd.files, lambda node: networkd.START),
    "netplan": Format("netplan", netplan.files, lambda node: netplan.START),
    "networkmanager": Format("NetworkManager", networkmanager.files, lambda node: networkmanager.START),
    "ifupdown": Format("ifupdown", ifupdown.files, ifupdown.start),
    "shell": Format("a script and a systemd unit", shell.files, lambda node: shell.START),
    "cloud-init": Format("cloud-init", cloud_init.files, lambda node: "", alone=True),
    "ansible": Format("Ansible", shell.files, lambda node: ansible.START, beside=ansible.beside),
}


NFT, FIREWALLD, IPTABLES = "nft", "firewalld", "iptables"
RULES = {
    NFT: f"A firewall on a host that drops what it does not know needs the rules of {common.FIREWALL}.",
    FIREWALLD: "firewalld accepts the tunnel packets and the overlay's device with, on each host as root:",
    IPTABLES: "iptables accepts the tunnel packets and the overlay's device with, as root "
    "(`netfilter-persistent` is in Debian's package iptables-persistent):",
}
"""What the README has of a host's own firewall, by the tool of it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    parser.add_argument(
        "--hub",
        default="",
        metavar="ADDRESS",
        help="the hub's address on the cloud's network, or NAME=ADDRESS; for two-hubs-*: both, with a comma",
    )
    parser.add_argument("--spokes", default="", metavar="ADDRESS,...", help="all other hosts, in the same form")
    for name, fields in LIVE_OPTIONS.items():
        parser.add_argument(name, **fields)
    parser.add_argument(
        "--format", required=True, metavar="TOOL", help=f"the tool that creates the links: {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--firewall",
        default=NFT,
        metavar="TOOL",
        help=f"tool of the hosts' own firewall: {', '.join(RULES)} (default: {NFT}; its rules are written "
        "as a file to include)",
    )
    parser.add_argument(
        "--topology",
        default="star",
        metavar="NAME",
        help=f"overlay topology: {', '.join(designs.LASTING)} (default: star)",
    )
    parser.add_argument("--tunnel", metavar="KIND", help=f"tunnel kind: {', '.join(tunnels.KINDS)}")
    parser.add_argument(
        "--provider",
        metavar="CLOUD",
        help=f"cloud: {', '.join(PROVIDERS)} (default: {DEFAULT_CLOUD}; with --hosts: as found)",
    )
    parser.add_argument(
        "--mtu",
        type=whole,
        metavar="OCTETS",
        help="MTU of the hosts' NICs (default: the cloud's; with --hosts: as found)",
    )
    parser.add_argument(
        "--nic", metavar="DEVICE", help=f"name of the hosts' NIC (default: {NIC}; with --hosts: as found)"
    )
    parser.add_argument(
        "--overlay-subnet",
        default=str(topologies.OVERLAY),
        metavar="SUBNET",
        help=f"the overlay's subnet (default: {topologies.OVERLAY})",
    )
    parser.add_argument(
        "-o",
        dest="folder",
        type=Path,
        default=Path(FOLDER),
        metavar="FOLDER",
        help=f"folder for the files (default: {FOLDER})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the files, a folder for each host, and a README with the place of each."""
    tool = _format(arguments.format)
    if arguments.firewall not in RULES:
        raise UsageProblem(f"unknown firewall {arguments.firewall!r}: expected one of {', '.join(RULES)}")
    if arguments.hosts is None:
        require_hosts(arguments, LIVE_OPTIONS)
    elif arguments.hub:
        raise UsageProblem("--hub cannot be used with --hosts, whose first host is the hub: remove --hub")
    if (arguments.hosts is None) != bool(arguments.spokes):
        raise UsageProblem(
            "expected --spokes=ADDRESS,... (with --hub=), or --hosts= to take the addresses from live hosts"
        )
    live = FoundHosts() if arguments.hosts is None else _live(arguments)
    cloud = for_tunnels(arguments.provider or live.cloud or DEFAULT_CLOUD)
    designs.require_lasting(arguments.topology)
    kind = tunnels.kind(arguments.tunnel or designs.default_tunnel(arguments.topology, default_tunnel(cloud)))
    for_tunnels(cloud.name, kind.name)
    mtu = arguments.mtu or live.mtu or cloud.mtu
    if not LEAST_MTU <= mtu <= MOST_MTU:
        found = f"--mtu={mtu}" if arguments.mtu else f"the NICs' MTU is {mtu}"
        raise UsageProblem(f"{found}: expected {LEAST_MTU} to {MOST_MTU}")
    hub, spokes = _hosts(arguments, live, kind)
    if arguments.nic and not DEVICE_NAME.fullmatch(arguments.nic):
        raise UsageProblem(f"--nic={arguments.nic}: expected a device name of 1 to 15 characters, without / and spaces")
    design = designs.DESIGNS.get(arguments.topology)
    if design and arguments.topology not in designs.STARS and design.nearest(len(spokes)) != len(spokes):
        option = "--spokes" if arguments.hosts is None else "--hosts"
        raise UsageProblem(
            f"{option}: expected {design.bounds} spokes for --topology={design.name}; found {len(spokes)}"
        )
    topology = designs.topology(arguments.topology, len(spokes), TunnelOptions(kind=kind.name), mtu)
    if len(topology.hubs) != len(hub):
        expected = {0: "no hub", 1: "1 hub"}.get(len(topology.hubs), f"{len(topology.hubs)} hubs")
        raise UsageProblem(f"--hub: the {topology.name} topology expects {expected}; found {len(hub)}")
    placed, names = hosts.placed(
        topology, [*hub, *spokes], arguments.nic or NIC, subnet("--overlay-subnet", arguments.overlay_subnet)
    )
    written = contents(common.sized(placed, mtu), names, tool, cloud, arguments.firewall)
    _write(arguments.folder, written)
    if note := tunnel_note(cloud, kind.name, chosen=arguments.tunnel is not None):
        print(f"overcast: {note}")
    print(f"{arguments.folder}/README.md lists where the {len(written) - 1} files go")
    return 0


def _live(arguments: argparse.Namespace) -> FoundHosts:
    # without --hosts=, what connects to hosts takes most of the command's time to load
    from lab.commands.live import plan

    return plan.read(arguments)


def _hosts(
    arguments: argparse.Namespace, live: FoundHosts, kind: TunnelKind
) -> tuple[Sequence[NamedHost], Sequence[NamedHost]]:
    """The hubs and the other hosts; of live hosts the first are the hubs."""
    if not live.hosts:
        hub, spokes = (
            hosts.named(option, text, kind.over_ipv6)
            for option, text in (("--hub", arguments.hub), ("--spokes", arguments.spokes))
        )
        return hub, spokes
    if kind.over_ipv6:
        raise UsageProblem(
            f"--hosts: only IPv4 addresses are read from hosts; for {kind.name} use --hub= and --spokes="
        )
    hubs = designs.hubs(arguments.topology)
    named = [replace(host, nic=arguments.nic or host.nic) for host in live.hosts]
    return named[:hubs], named[hubs:]


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise UsageProblem(f"unknown format {name!r}: expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def contents(topology: Topology, names: Mapping[str, str], tool: Format, cloud: Provider, firewall: str = NFT) -> Files:
    """Every file, by its path below the folder."""
    if tool.alone and firewall != NFT:
        raise UsageProblem(f"--firewall={firewall} requires a format with files for each host: --format=shell")
    written: Files = {}
    for node in topology.nodes:
        files = tool.files(topology, node)
        if not tool.alone:
            files = {**common.files(topology, node), **files}
        if firewall != NFT:
            del files[common.FIREWALL]
        if firewall == FIREWALLD:
            files = {**networkmanager.zoned(files, node, firewalld.ZONE), **firewalld.files(topology, node)}
        written |= {f"{names[node.name]}/{path.lstrip('/')}": text for path, text in files.items()}
    rules = terraform.text(cloud, *_outside(topology))
    written |= {**(tool.beside(topology, names) if tool.beside else {}), **({terraform.FILE: rules} if rules else {})}
    return {**written, "README.md": _readme(topology, names, tool, cloud, written, firewall)}


def _outside(topology: Topology) -> tuple[firmware.Carrier, list[str]]:
    """What the cloud must let in, and from where."""
    kind = tunnels.kind(topology.options.kind)
    return firmware.Carrier(kind.protocol, kind.port), sorted(node.endpoint for node in topology.nodes)


def _readme(
    topology: Topology, names: Mapping[str, str], tool: Format, cloud: Provider, beside: Files, firewall: str
) -> str:
    kind = tunnels.kind(topology.options.kind)
    rows = [f"| {names[node.name]} | {node.endpoint} | {node.overlay} | {node.device} |" for node in topology.nodes]
    rule = firmware.opening(cloud, *_outside(topology))
    also = f"\n\nOr with Terraform: {terraform.FILE}." if terraform.FILE in beside else ""
    listed = ",".join(names[node.name] for node in topology.nodes)
    mtu = min(common.mtu(topology, node) for node in topology.nodes)
    chosen: dict[str, Iterable[str]] = {
        FIREWALLD: dict.fromkeys(firewalld.start(node) for node in topology.nodes),
        IPTABLES: [
            f"{common.iptables(topology, node)} && netfilter-persistent save    # on {names[node.name]}"
            for node in topology.nodes
        ],
    }
    commands = "".join(f"\n\n    {command}" for command in chosen.get(firewall, ()))
    return f"""# The overlay: {topology.name}, {kind.name}, by {tool.title}

| host | on the cloud's network | on the overlay | device |
|---|---|---|---|
{chr(10).join(rows)}

MTU of the overlay: {mtu}. Multicast: {topology.multicast_route} to the overlay.

## The cloud's rules

    {rule}{also}

## The hosts

{_steps(topology, tool)}

{RULES[firewall]}{commands}

## Does it work, and is it still there after a reboot?

    ./overcast doctor --hosts={listed} --sudo
    .venv/bin/pytest --hosts={listed} --sudo
"""


def _steps(topology: Topology, tool: Format) -> str:
    """What is to be done on the hosts."""
    if tool.alone:
        return (
            "When a machine is made, give it the `user-data` of its folder (user data, or custom data, in the cloud)."
        )
    starts = list(dict.fromkeys(tool.start(node) for node in topology.nodes))
    if tool.beside:
        return f"In this folder, as a user who may log in to the hosts and use sudo there:\n\n    {starts[0]}"
    which = " (of the last lines, the one of its device)" if len(starts) > 1 else ""
    modules = dict.fromkeys(module for node in topology.nodes for module in common.modules(topology, node))
    lines = ["cp -r NAME/. /", f"modprobe -a {' '.join(modules)}", f"sysctl -p {common.SYSCTLS}", *starts]
    return f"On each host, as root, with its folder for NAME{which}:\n\n" + "\n".join(f"    {line}" for line in lines)


def _write(folder: Path, written: Files) -> None:
    try:
        for path, text in written.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755 if text.startswith("#!") else 0o644)
    except OSError as problem:
        raise EnvironmentProblem(
            f"cannot write {problem.filename}: {problem.strerror}", remedy="use -o for another folder"
        ) from None
