"""Ways to break a lab that several faults share: shell commands, wherever there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lab.changes import bridge_port, link_add
from lab.errors import EnvironmentProblem
from lab.faults.fault import Inject
from lab.faults.places import Who, hub, hub_ports, names, victim
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.machines import firewall
from lab.machines.node import Node
from lab.model import Change
from lab.tunnels import KINDS
from lab.underlay.policy import Rule

GUEST = ("gretap",)
"""The tunnels of faults that take what a guest's kernel has, and this one may lack."""
TABLES = (
    *("iptable_raw", "iptable_mangle", "iptable_nat", "nf_nat", "xt_HL", "xt_DSCP", "xt_MASQUERADE", "xt_nat"),
    *("xt_REDIRECT", "xt_length", "xt_statistic", "ipt_rpfilter"),
)
BRIDGE_FILTERS = {4: "net.bridge.bridge-nf-call-iptables", 6: "net.bridge.bridge-nf-call-ip6tables"}


def forwarded(*rules: str, version: int = 4) -> Inject:
    """Rules of the hub's iptables, where bridged packets meet its FORWARD chain (br_netfilter)."""

    def inject(lab: BuiltLab) -> None:
        calls = BRIDGE_FILTERS[version]
        if lab.hub.node.sysctl(calls) is None:
            lab.machine.load_modules("br_netfilter")
        if lab.hub.node.sysctl(calls) is None:
            lack = f"{lab.hub.node.machine.name} has no br_netfilter"
            raise EnvironmentProblem(lack, remedy=firewall.with_modules(lab.hub.node, "br_netfilter"))
        lab.hub.node.write_sysctls({calls: 1})
        tool = "{iptables}" if version == 4 else "{ip6tables}"
        of_hub(*(f"{tool} {rule}" for rule in rules))(lab)

    return inject


def take_any_source(host: Host, device: str) -> None:
    """What comes in at a device is not checked by the reverse path, which would hide a fault where it is on."""
    host.node.write_sysctls({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", device)})


def shell(node: Node, command: str, timeout: float = 30.0) -> None:
    """Runs a shell command on a node; EnvironmentProblem contains the command's output."""
    done = node.run("sh", "-c", command, timeout=timeout)
    if done["status"] != 0:
        said = (done["errors"] or done["output"]).strip()
        raise EnvironmentProblem(f"on {node.name}, `{command}` ended with {done['status']}: {said}")


def run(lab: BuiltLab, host: Host, commands: Sequence[str]) -> None:
    """Runs commands on a host; in braces stand names and addresses of the lab, and the iptables that works there."""
    known = names(lab, host)
    for word, version in (("iptables", 4), ("ip6tables", 6)):
        if any(f"{{{word}}}" in command for command in commands):
            known[word] = firewall.tool(host.node, version)
            lab.machine.load_modules(*TABLES)
    for command in commands:
        shell(host.node, command.format(**known))


def ran(who: Who, *commands: str) -> Inject:
    """Commands that were run on a host."""
    return lambda lab: run(lab, who(lab), commands)


def of_spoke(*commands: str) -> Inject:
    """Commands that were run on the one spoke that faults of a single spoke are put on."""
    return ran(victim, *commands)


def of_hub(*commands: str) -> Inject:
    """Commands that were run on the hub."""
    return ran(hub, *commands)


def of_all(*commands: str) -> Inject:
    """Commands that were run on every host."""

    def inject(lab: BuiltLab) -> None:
        for host in lab.hosts.values():
            run(lab, host, commands)

    return inject


def drops(match: str = "") -> str:
    """The command by which a host's firewall drops what comes through the tunnel and matches."""
    return f"{{iptables}} -A INPUT -i {{device}} {match} -j DROP"


def cloud_drops(rule: Rule, *, from_hub_only: bool = False) -> Inject:
    """Packets that the cloud drops by a rule at the port of their sender."""

    def inject(lab: BuiltLab) -> None:
        for name in [lab.hub.name] if from_hub_only else lab.hosts:
            lab.cloud.set_rules(name, rule)

    return inject


def every_port(**flags: int) -> Inject:
    """Flags (bridge(8)) of all ports of the hub."""
    return lambda lab: lab.hub.node.apply(*(bridge_port(port, **flags) for port in hub_ports(lab)))


def extra_tunnel(lab: BuiltLab, device: str, here: Host, there: Host, number: int, **more: Any) -> Change:
    """One end of a tunnel that the topology does not have; `number` is its key or VNI."""
    options = replace(lab.topology.options, key=number)
    data = KINDS[options.kind].data(here.plan.endpoint, there.plan.endpoint, here.plan.nic, number, options)
    return link_add(device, data, **more)
