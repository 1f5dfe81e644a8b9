"""Ways to break a lab that several faults share: shell commands, wherever there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lab.errors import EnvironmentProblem, Unsupported
from lab.faults.fault import Inject
from lab.faults.places import names
from lab.host import Host
from lab.laboratory import BuiltLab
from lab.machines import abilities, firewall
from lab.machines.node import Node
from lab.model import Change
from lab.stack.changes import link_add
from lab.tunnels import KINDS
from lab.underlay.policy import CloudRule

TABLES = (
    *("iptable_raw", "iptable_mangle", "iptable_nat", "nf_nat", "xt_HL", "xt_DSCP", "xt_MASQUERADE", "xt_nat"),
    *("xt_REDIRECT", "xt_length", "xt_CT", "xt_dscp", "xt_statistic", "ipt_rpfilter"),
)
BRIDGE_FILTERS = {4: "net.bridge.bridge-nf-call-iptables", 6: "net.bridge.bridge-nf-call-ip6tables"}


def take_any_source(host: Host, device: str) -> None:
    """What comes in at a device is not checked by the reverse path, which would hide a fault where it is on."""
    host.node.write_sysctls({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", device)})


def shell(node: Node, command: str, timeout: float = 30.0) -> None:
    """Runs a shell command on a node; EnvironmentProblem contains the command's output."""
    done = node.run("sh", "-c", command, timeout=timeout)
    if done["status"] != 0:
        said = (done["errors"] or done["output"]).strip()
        if lack := abilities.lacking(said):
            raise Unsupported(f"`{command}`: {lack}")
        raise EnvironmentProblem(f"{node.name}: `{command}` ended with exit status {done['status']}: {said}")


def run(lab: BuiltLab, host: Host, commands: Sequence[str]) -> None:
    """
    Runs commands on a host; in braces stand names and addresses of the lab, and the iptables that works there.

    The rules of `{bridging_iptables}` are met by what the host's bridge forwards (br_netfilter), too.
    """
    known = names(lab, host)
    for version, tool in ((4, "iptables"), (6, "ip6tables")):
        bridging = f"bridging_{tool}"
        if any(f"{{{bridging}}}" in command for command in commands):
            _filter_bridged(lab, host, BRIDGE_FILTERS[version])
        if any(f"{tool}}}" in command for command in commands):
            known[tool] = known[bridging] = firewall.tool(host.node, version)
            lab.machine.load_modules(*TABLES)
    for command in commands:
        shell(host.node, command.format(**known))


def _filter_bridged(lab: BuiltLab, host: Host, parameter: str) -> None:
    """The host's bridge hands what it forwards to the firewall."""
    if host.node.sysctl(parameter) is None:
        lab.machine.load_modules("br_netfilter")
    if host.node.sysctl(parameter) is None:
        lack = f"{host.node.machine.name} has no br_netfilter"
        raise EnvironmentProblem(lack, remedy=firewall.with_modules(host.node, "br_netfilter"))
    host.node.write_sysctls({parameter: 1})


def cloud_drops(rule: CloudRule, *, from_hub_only: bool = False) -> Inject:
    """Packets that the cloud drops by a rule at the port of their sender."""

    def inject(lab: BuiltLab) -> None:
        for name in [lab.hub.name] if from_hub_only else lab.hosts:
            lab.cloud.set_rules(name, rule)

    return inject


def extra_tunnel(lab: BuiltLab, device: str, here: Host, there: Host, number: int, **more: Any) -> Change:
    """One end of a tunnel that the topology does not have; `number` is its key or VNI."""
    options = replace(lab.topology.options, key=number)
    data = KINDS[options.kind].data(here.plan.endpoint, there.plan.endpoint, here.plan.nic, number, options)
    return link_add(device, data, **more)
