"""Ways to break a lab that several faults share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lab import changes
from lab.changes import bridge_port, link_add, link_set
from lab.errors import EnvironmentProblem
from lab.faults.fault import Inject
from lab.faults.places import hub_port, hub_ports, victim
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.machines import firewall
from lab.machines.node import Node
from lab.model import Change
from lab.tunnels import KINDS

HostChange = Callable[[BuiltLab, Host], None]

GUEST = ("gretap",)
"""The tunnels of faults that take what a guest's kernel has, and this one may lack."""
TABLES = (
    *("iptable_raw", "iptable_mangle", "iptable_nat", "nf_nat"),
    *("xt_HL", "xt_DSCP", "xt_MASQUERADE", "xt_nat", "xt_REDIRECT", "xt_length"),
)
BRIDGE_FILTERS = {4: "net.bridge.bridge-nf-call-iptables", 6: "net.bridge.bridge-nf-call-ip6tables"}


def forward_drop(lab: BuiltLab, version: int = 4) -> None:
    """The hub's FORWARD chain drops everything, and what the hub bridges meets it (br_netfilter)."""
    hub, calls = lab.hub.node, BRIDGE_FILTERS[version]
    if hub.sysctl(calls) is None:
        lab.machine.load_modules("br_netfilter")
    if hub.sysctl(calls) is None:
        lack = f"{hub.machine.name} has no br_netfilter"
        raise EnvironmentProblem(lack, remedy=firewall.with_modules(hub, "br_netfilter"))
    hub.write_sysctls({calls: 1})
    firewall.append(hub, ("FORWARD", "-j", "DROP"), version=version)


# on whom


def on_all(change: HostChange) -> Inject:
    """Every host is changed."""

    def inject(lab: BuiltLab) -> None:
        for host in lab.hosts.values():
            change(lab, host)

    return inject


def on_one(change: HostChange) -> Inject:
    """The one spoke is changed that faults of a single spoke are put on."""
    return lambda lab: change(lab, victim(lab))


def on_hub(change: HostChange) -> Inject:
    """The hub is changed."""
    return lambda lab: change(lab, lab.hub)


# a host's parameters and its firewall; `DEVICE` stands for its overlay device


def sysctls(values: Mapping[str, int]) -> HostChange:
    """Parameters of the host under the names of sysctl(8)."""

    def write(lab: BuiltLab, host: Host) -> None:
        host.node.write_sysctls({name.replace("DEVICE", host.plan.device): value for name, value in values.items()})

    return write


def rule(*words: str) -> HostChange:
    """A rule of the host's own firewall: the chain, then what iptables(8) takes."""

    def add(lab: BuiltLab, host: Host) -> None:
        firewall.append(host.node, [host.plan.device if word == "DEVICE" else word for word in words])

    return add


def drops(*match: str) -> HostChange:
    """The host's firewall drops what comes through the tunnel and matches."""
    return rule("INPUT", "-i", "DEVICE", *match, "-j", "DROP")


def take_any_source(host: Host, device: str) -> None:
    """What comes in at a device is not checked by the reverse path, which would hide a fault where it is on."""
    host.node.write_sysctls({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", device)})


# commands


def shell(node: Node, command: str, timeout: float = 30.0) -> None:
    """Runs a shell command on a node; EnvironmentProblem says what the command said."""
    done = node.run("sh", "-c", command, timeout=timeout)
    if done["status"] != 0:
        said = (done["errors"] or done["output"]).strip()
        raise EnvironmentProblem(f"on {node.name}, `{command}` ended with {done['status']}: {said}")


def ran(who: Callable[[BuiltLab], Host], *commands: str) -> Inject:
    """Commands on a host; in them stand the names and addresses of the lab."""

    def inject(lab: BuiltLab) -> None:
        host = who(lab)
        names = {
            "device": host.plan.device,
            "nic": host.plan.nic,
            "own": host.address(),
            "everybody": lab.everyone,
            "underlay": host.address("underlay"),
            "network": host.plan.underlay.network,
            "hub": lab.hub.address(),
            "remote": lab.hub.address("underlay"),
            "port": hub_port(lab)[1],
        }
        for command in commands:
            shell(host.node, command.format(**names))

    return inject


def tables(*rules: str) -> Inject:
    """Rules of iptables, their tables named, on the one spoke."""

    def inject(lab: BuiltLab) -> None:
        tool = firewall.tool(victim(lab).node)
        lab.machine.load_modules(*TABLES)
        of_spoke(*(f"{tool} {rule}" for rule in rules))(lab)

    return inject


def of_spoke(*commands: str) -> Inject:
    """Commands that were run on the one spoke."""
    return ran(victim, *commands)


def of_hub(*commands: str) -> Inject:
    """Commands that were run on the hub."""
    return ran(lambda lab: lab.hub, *commands)


# the hub's bridge and its ports


def bridge(**parameters: int) -> Inject:
    """Parameters of the hub's bridge (ip-link(8))."""
    return lambda lab: lab.hub.node.apply(link_set(lab.topology.bridge, changes.bridge(**parameters)))


def one_port(**flags: int) -> Inject:
    """Flags (bridge(8)) of the hub's port towards the one spoke."""
    return lambda lab: _set_flags(lab, [hub_port(lab)[1]], flags)


def every_port(**flags: int) -> Inject:
    """Flags (bridge(8)) of all ports of the hub."""
    return lambda lab: _set_flags(lab, hub_ports(lab), flags)


def _set_flags(lab: BuiltLab, ports: Sequence[str], flags: Mapping[str, int]) -> None:
    lab.hub.node.apply(*(bridge_port(port, **flags) for port in ports))


# tunnels


def extra_tunnel(lab: BuiltLab, device: str, here: Host, there: Host, number: int, **more: Any) -> Change:
    """One end of a tunnel that the topology does not have; `number` is its key or VNI."""
    options = replace(lab.topology.options, key=number)
    data = KINDS[options.kind].data(here.plan.endpoint, there.plan.endpoint, here.plan.nic, number, options)
    return link_add(device, data, **more)
