"""The options that say which lab: tunnel, topology, cloud, spokes, routers, kernel."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from lab import topologies
from lab.errors import UsageProblem
from lab.machines.choose import KERNELS
from lab.model import Topology, TunnelOptions, Underlay
from lab.providers import DEFAULT_CLOUD, PROVIDERS, default_tunnel, provider, tunnel_note
from lab.tunnels import DEFAULT, FALLBACK, KINDS

MOST_ROUTERS = 16
OF_CLOUD = f"{DEFAULT}; {FALLBACK} where the cloud blocks GRE"


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


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the options, under the names that pytest has them."""
    for name, default, words, meaning in (
        ("--tunnel", None, KINDS, "kind of tunnel"),
        ("--topology", "standard", topologies.TOPOLOGIES, "overlay topology"),
        ("--provider", DEFAULT_CLOUD, PROVIDERS, "cloud whose network is emulated"),
        ("--kernel", "auto", KERNELS, "where the lab runs"),
    ):
        text = f"{meaning}: {', '.join(words)} (default: {default or OF_CLOUD})"
        parser.add_argument(name, default=default, metavar=name[2:].upper(), help=text)
    parser.add_argument("--spokes", type=int, default=2, metavar="N", help="number of spokes (default: 2)")
    parser.add_argument(
        "--routers", type=int, default=0, metavar="N", help="routers between the hub's subnet and the spokes' (0: none)"
    )


def understood(arguments: argparse.Namespace) -> Plan:
    """The plan; UsageProblem for a value that cannot be."""
    if arguments.kernel not in KERNELS:
        raise UsageProblem(f"unknown kernel {arguments.kernel!r}: expected one of {', '.join(KERNELS)}")
    if not 0 <= arguments.routers <= MOST_ROUTERS:
        raise UsageProblem(f"--routers {arguments.routers}: expected 0 to {MOST_ROUTERS}")
    cloud = provider(arguments.provider)
    tunnel = arguments.tunnel or default_tunnel(cloud)
    topology = topologies.topology(arguments.topology, arguments.spokes, TunnelOptions(kind=tunnel))
    if arguments.routers:
        topology = topologies.routed(topology)
    note = tunnel_note(cloud, tunnel, chosen=arguments.tunnel is not None)
    return Plan(topology, Underlay(cloud, arguments.routers), arguments.kernel, note)
