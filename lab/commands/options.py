"""The options that say which lab, or which live hosts; the commands and pytest have the same ones."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from lab.clouds.providers import DEFAULT_CLOUD, PROVIDERS, default_tunnel, provider, tunnel_note
from lab.errors import UsageProblem
from lab.machines import choose
from lab.model import Provider, Topology, TunnelOptions, Underlay
from lab.topology import designs, topologies
from lab.tunnels import DEFAULT, FALLBACK, KINDS, NONE

MOST_ROUTERS = 16
SPOKES = 2


def whole(text: str) -> int:
    """The value of an option that is a whole number; argparse prints the message."""
    with contextlib.suppress(ValueError):
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number; found {text!r}")


def number(text: str) -> float:
    """The value of an option that is a number."""
    with contextlib.suppress(ValueError):
        return float(text)
    raise argparse.ArgumentTypeError(f"expected a number; found {text!r}")


def device_or_subnet(text: str) -> str:
    """The value of an option that chooses an overlay."""
    with contextlib.suppress(ValueError):
        return str(IPv4Network(text)) if "/" in text else text
    raise argparse.ArgumentTypeError(f"expected a device or a subnet (bridge0, {topologies.OVERLAY}); found {text!r}")


def subnet(option: str, text: str) -> IPv4Network:
    """An IPv4 network; UsageProblem for anything else, and for the address of a host in one."""
    with contextlib.suppress(ValueError):
        return IPv4Network(text)
    wrong = f"expected an IPv4 subnet, e.g. {topologies.OVERLAY}"
    with contextlib.suppress(ValueError):
        wrong = f"this is a host's address; expected its subnet: {IPv4Network(text, strict=False)}"
    raise UsageProblem(f"{option}={text}: {wrong}")


CLOUDS = f"cloud: {', '.join(PROVIDERS)}"
BY_FIRMWARE = "the one that the hub's firmware names"
LAB_OPTIONS: dict[str, dict[str, Any]] = {
    "--tunnel": {
        "metavar": "KIND",
        "help": f"tunnel kind: {', '.join(KINDS)} (default: {DEFAULT}; {FALLBACK} where the "
        f"cloud blocks GRE; {NONE.name}, which is no tunnel, where the cloud delivers multicast by itself)",
    },
    "--topology": {
        "metavar": "NAME",
        "help": f"overlay topology: {', '.join(designs.TOPOLOGIES)} (default: star)",
    },
    "--provider": {
        "metavar": "CLOUD",
        "help": f"{CLOUDS} (default: {DEFAULT_CLOUD} in a lab; on live hosts, {BY_FIRMWARE})",
    },
    "--spokes": {"metavar": "N", "type": whole, "help": f"number of spokes (default: {SPOKES})"},
    "--kernel": {
        "metavar": "WHICH",
        "help": "where the lab runs: host (this kernel), guest (a kernel booted for the run), "
        "auto (this kernel if it supports the tunnel, otherwise a guest; the default)",
    },
}
"""Those that are not given are parsed as None, since what is live cannot be chosen."""

API_DELAY: dict[str, Any] = {
    "type": number,
    "default": 0.0,
    "metavar": "SECONDS",
    "help": "time that the cloud takes to move the hub's address to a standby (default: 0)",
}

LIVE_OPTIONS: dict[str, dict[str, Any]] = {
    "--hosts": {
        "metavar": "HUB,SPOKE,...",
        "help": "live hosts, a star's hub first: ssh://user@name:port?sudo=true, a bare name, or @FILE (one per line)",
    },
    "--ssh-config": {"metavar": "FILE", "help": "OpenSSH configuration for the live hosts"},
    "--ssh-identity-file": {"metavar": "FILE", "help": "private key for the live hosts"},
    "--sudo": {"action": "store_true", "default": False, "help": "become root on the live hosts (sudo -n)"},
}

"""How live hosts are reached."""

FOUND_OPTIONS: dict[str, dict[str, Any]] = {
    **LIVE_OPTIONS,
    "--overlay": {
        "metavar": "DEVICE|SUBNET",
        "type": device_or_subnet,
        "help": "device or subnet of the overlay, if the live hosts have several (bridge0, 172.16.254.0/24)",
    },
}
"""The same, and which overlay on them is meant."""


@dataclass(frozen=True)
class Plan:
    """The lab that a user asked for, and where it is to run."""

    topology: Topology
    underlay: Underlay
    kernel: str
    note: str = ""
    """What the user has to know of this combination."""

    @property
    def tunnel(self) -> str:
        return self.topology.options.kind

    def choice(self) -> choose.Choice:
        """The kernel for this lab, with all the kinds of link that its topology needs."""
        return choose.choose(self.kernel, self.tunnel, len(self.topology.nodes), designs.kinds(self.topology.name))


def add(parser: argparse.ArgumentParser, *, live: bool = False) -> None:
    """Declares the options of a lab, and how many routers are in it; `live`: the command has live hosts, too."""
    for name, fields in LAB_OPTIONS.items():
        if name == "--provider" and not live:
            add_provider(parser, DEFAULT_CLOUD)
        else:
            parser.add_argument(name, **fields)
    parser.add_argument(
        "--routers", type=whole, default=0, metavar="N", help="routers between the hub and the spokes (default: 0)"
    )


def add_provider(parser: argparse.ArgumentParser, default: str) -> None:
    """Declares --provider of a command that has either labs or live hosts, and which cloud is the default there."""
    parser.add_argument("--provider", metavar="CLOUD", help=f"{CLOUDS} (default: {default})")


def require_hosts(arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """UsageProblem for an option of live hosts without live hosts."""
    for name in names:
        if name != "--hosts" and getattr(arguments, name[2:].replace("-", "_")):
            raise UsageProblem(f"{name} requires --hosts=HUB,SPOKE,...")


def command(name: str, arguments: argparse.Namespace, names: Iterable[str]) -> str:
    """A command with those of the options that were given, as it can be pasted."""
    given = {one: getattr(arguments, one[2:].replace("-", "_")) for one in names}
    parts = [one if value is True else f"{one}={value}" for one, value in given.items() if value]
    return shlex.join(["./overcast", name, *parts])


def planned(given: Mapping[str, Any]) -> Plan:
    """The plan by the values of LAB_OPTIONS, None: its default; UsageProblem for a value that cannot be."""
    kernel = choose.known(given["kernel"] or "auto")
    cloud = provider(given["provider"] or DEFAULT_CLOUD)
    name = given["topology"] or designs.default_name(given["tunnel"] or default_tunnel(cloud))
    tunnel = given["tunnel"] or designs.default_tunnel(name, default_tunnel(cloud))
    _refuse_other_underlay(cloud, tunnel, name, chosen=given["tunnel"] is not None)
    spokes = SPOKES if given["spokes"] is None else given["spokes"]
    topology = designs.topology(name, spokes, TunnelOptions(kind=tunnel), cloud.mtu)
    return Plan(topology, Underlay(cloud), kernel, tunnel_note(cloud, tunnel, chosen=given["tunnel"] is not None))


def _refuse_other_underlay(cloud: Provider, tunnel: str, name: str, *, chosen: bool) -> None:
    """
    Whether groups are delivered by the cloud or by tunnels: an underlay is of one sort.

    `chosen`: the user named the kind of tunnel; else it is that of the topology.
    """
    option = f"--tunnel={tunnel}" if chosen else f"--topology={name}"
    if tunnel == NONE.name and not cloud.groups:
        delivering = " or ".join(each.name for each in PROVIDERS.values() if each.groups)
        other = f"or remove {option}" if chosen else "or another topology"
        raise UsageProblem(f"{option}: {cloud.title} drops multicast; use --provider={delivering}, {other}")
    if tunnel == NONE.name and name != designs.default_name(tunnel):
        raise UsageProblem(
            f"--topology={name} consists of tunnels; expected no tunnels with {cloud.name}: remove --topology"
        )
    if tunnel != NONE.name and cloud.groups:
        expected = f"expected --tunnel={NONE.name}" if chosen else "remove --topology"
        raise UsageProblem(
            f"{option}: {cloud.title} delivers multicast without tunnels; {expected}; "
            f"for an overlay: --provider={cloud.name.partition('-')[0]}"
        )


def understood(arguments: argparse.Namespace) -> Plan:
    """The plan of a command; UsageProblem for a value that cannot be."""
    if not 0 <= arguments.routers <= MOST_ROUTERS:
        raise UsageProblem(f"--routers={arguments.routers}: expected 0 to {MOST_ROUTERS}")
    plan = planned(vars(arguments))
    if not arguments.routers:
        return plan
    underlay = replace(plan.underlay, routers=arguments.routers)
    return replace(plan, topology=topologies.routed(plan.topology), underlay=underlay)
