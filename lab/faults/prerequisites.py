"""
Faults of what an overlay stands on: the cloud's network, the hosts' firewalls, addresses, and the ends of the tunnels.

Most of them are one line of somebody's set-up, and none is visible on the sender.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Interface

from lab.errors import EnvironmentProblem
from lab.faults.fault import Fault
from lab.host import Host
from lab.laboratory import Lab
from lab.machines import firewall
from lab.model import NodePlan
from lab.overlay import plan
from lab.underlay.policy import JUMP_EQUAL, LOAD_HALF, Rule, gre_rule

Inject = Callable[[Lab], None]

BRIDGE_FILTER = "net.bridge.bridge-nf-call-iptables"
UDP_DESTINATION = 14 + 20 + 2  # octets: Ethernet, IPv4 without options, the source port
VXLAN_PORT = 4789
CARRIERS = {"gretap": ("-p", "gre"), "vxlan": ("-p", "udp", "--dport", str(VXLAN_PORT))}
STRANGER = 99  # a host number that no VNIC has
MISSING_OCTETS = 100


def _victim(lab: Lab) -> Host:
    """The spoke that faults of a single spoke are put on: the last one."""
    return lab.spokes[-1]


def _carrier(lab: Lab) -> tuple[str, ...]:
    return CARRIERS[lab.topology.options.kind]


# the cloud's network


def _plain_switch(lab: Lab) -> None:
    lab.cloud.flood()


def _flooding_ports(lab: Lab) -> None:
    for host in lab.hosts:
        lab.cloud.node.apply(("bridge_port", {"device": lab.cloud.port_of(host), "flood": 1, "bcast_flood": 1}))


def _cloud_drops(rule: Rule, *, from_hub_only: bool = False) -> Inject:
    def inject(lab: Lab) -> None:
        for name in [lab.hub.name] if from_hub_only else lab.hosts:
            lab.cloud.set_rules(name, rule)

    return inject


def _no_source_check(lab: Lab) -> None:
    for name in lab.hosts:
        lab.cloud.set_rules(name, source_check=False)


def _small_mtu(lab: Lab) -> None:
    for host in lab.hosts.values():
        host.node.apply(("link_set", {"device": host.plan.nic, "mtu": lab.underlay.provider.mtu - MISSING_OCTETS}))


def _hidden_router(lab: Lab) -> None:
    """The hosts reach each other by the gateway, which forwards; where there are routers there is one more anyway."""
    if lab.underlay.routers:
        return
    lab.fabric.write_sysctls({"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.send_redirects": 0})
    lab.fabric.write_sysctls({"net.ipv4.conf.vcn.send_redirects": 0})
    for host in lab.hosts.values():
        gateway = str(host.plan.underlay.network.network_address + 1)
        for other in lab.others(host):
            to = lab[other].address("underlay") + "/32"
            host.node.apply(("route_add", {"to": to, "via": gateway, "device": host.plan.nic}))


# the hosts' firewalls


def _carrier_dropped(lab: Lab) -> None:
    firewall.append(lab.hub.node, ("INPUT", *_carrier(lab), "-j", "DROP"))


def _inside_dropped(lab: Lab) -> None:
    firewall.append(lab.hub.node, ("INPUT", "-i", lab.topology.bridge, "-j", "DROP"))


def _stateful_only(lab: Lab) -> None:
    established = ("-m", "conntrack", "--ctstate", "ESTABLISHED")
    firewall.append(
        _victim(lab).node,
        ("INPUT", *_carrier(lab), *established, "-j", "ACCEPT"),
        ("INPUT", *_carrier(lab), "-j", "DROP"),
    )


def _forward_drop(lab: Lab) -> None:
    hub = lab.hub.node
    if hub.sysctl(BRIDGE_FILTER) is None and hub.machine.kind == "guest":
        hub.machine.call("load_modules", names=["br_netfilter"])
    if hub.sysctl(BRIDGE_FILTER) is None:
        raise EnvironmentProblem(f"{hub.machine.name} has no br_netfilter", remedy="sudo modprobe br_netfilter")
    hub.write_sysctls({BRIDGE_FILTER: 1})
    firewall.append(hub, ("FORWARD", "-j", "DROP"))


def _strict_with_underlay_source(lab: Lab) -> None:
    """Multicast leaves with the NIC's address as its source, and everybody filters by the reverse path."""
    for host in lab.hosts.values():
        route = {"to": str(lab.topology.multicast_route), "device": host.plan.device}
        host.node.write_sysctls({"net.ipv4.conf.all.rp_filter": 1})
        host.node.apply(("route_replace", {**route, "source": host.address("underlay")}))


def _sysctls_lost(lab: Lab) -> None:
    for host in lab.hosts.values():
        host.node.write_sysctls({plan.BROADCAST_PING: 1})


# the ends of the tunnels


def _spoke_again(lab: Lab, spoke: Host, changed: NodePlan) -> None:
    """The spoke's side of the overlay made anew from another plan."""
    nodes = tuple(changed if node.name == changed.name else node for node in lab.topology.nodes)
    spoke.node.apply(
        ("link_del", {"device": spoke.plan.device}), *plan.changes(replace(lab.topology, nodes=nodes), changed)
    )


def _foreign_source(lab: Lab) -> None:
    """A spoke's tunnel starts at an address that its VNIC does not own."""
    spoke = _victim(lab)
    network = spoke.plan.underlay.network
    stranger = IPv4Interface((network.network_address + STRANGER, network.prefixlen))
    spoke.node.apply(("addr_add", {"device": spoke.plan.nic, "address": str(stranger)}))
    _spoke_again(lab, spoke, replace(spoke.plan, underlay=stranger))


def _second_address(lab: Lab) -> None:
    """The same, with an address that the cloud did assign to the VNIC, and that the hub does not expect."""
    spoke = _victim(lab)
    _foreign_source(lab)
    lab.cloud.assign(spoke.name, spoke.plan.underlay.network.network_address + STRANGER)
    lab.cloud.set_rules(spoke.name, source_check=False)


def _wrong_remote(lab: Lab) -> None:
    spoke = _victim(lab)
    wrong = replace(spoke.plan, underlay=spoke.plan.underlay + 1)
    nodes = tuple(wrong if node.name == spoke.name else node for node in lab.topology.nodes)
    made = plan.tunnel_link(replace(lab.topology, nodes=nodes), lab.hub.plan, spoke.name, master=lab.topology.bridge)
    device = lab.topology.tunnel_of(spoke.name).hub_device
    lab.hub.node.apply(("link_del", {"device": device}), made)


def _no_tunnel(lab: Lab) -> None:
    _victim(lab).node.apply(("link_del", {"device": _victim(lab).plan.device}))


def _tunnel_down(lab: Lab) -> None:
    _victim(lab).node.apply(("link_set", {"device": _victim(lab).plan.device, "up": False}))


def _recursive_route(lab: Lab) -> None:
    spoke = _victim(lab)
    spoke.node.apply(("route_add", {"to": lab.hub.address("underlay") + "/32", "device": spoke.plan.device}))


# overlay addresses and MACs


def _prefix(length: int) -> Inject:
    def inject(lab: Lab) -> None:
        spoke = _victim(lab)
        other = {"device": spoke.plan.device, "address": f"{spoke.address()}/{length}"}
        # the new one first: with its last address a device loses its routes too
        spoke.node.apply(("addr_add", other), ("addr_del", {**other, "address": str(spoke.plan.overlay)}))

    return inject


def _duplicate_address(lab: Lab) -> None:
    spoke = _victim(lab)
    spoke.node.apply(("addr_add", {"device": spoke.plan.device, "address": str(lab.spokes[0].plan.overlay)}))


def _mac_of(lab: Lab, owner: Callable[[Lab], tuple[Host, str]]) -> None:
    host, device = owner(lab)
    mac = host.node.link(device)["IFLA_ADDRESS"]
    _victim(lab).node.apply(("link_set", {"device": _victim(lab).plan.device, "address": mac}))


def _mac_of_spoke(lab: Lab) -> None:
    _mac_of(lab, lambda lab: (lab.spokes[0], lab.spokes[0].plan.device))


def _mac_of_hub_port(lab: Lab) -> None:
    _mac_of(lab, lambda lab: (lab.hub, lab.topology.tunnels[0].hub_device))


GRETAP = ("gretap",)
EVERYTHING = ("BCAST-01", "MCAST-01", "ICMP-01")
# a fault that cuts a host off turns nearly all red; only the first one says so, the others name what is theirs

FAULTS = (
    Fault(
        "plain-switch",
        "the cloud's network is a plain switch: broadcast and multicast pass",
        ("UNDER-01", "UNDER-02", "UNDER-03", "UNDER-05", "UNDER-09"),
        _plain_switch,
    ),
    Fault(
        "flooding-ports", "the fabric's ports flood, behind filters that are in order", ("UNDER-09",), _flooding_ports
    ),
    Fault(
        "gre-blocked",
        "the cloud drops IP protocol 47",
        ("UNDER-04", "UNDER-05", "PRE-03", "PRE-13", *EVERYTHING),
        _cloud_drops(gre_rule()),
        GRETAP,
    ),
    Fault(
        "gre-one-way",
        "the cloud's rules admit IP protocol 47 to the hub, and not from it",
        ("UNDER-04", "PRE-13"),
        _cloud_drops(gre_rule(), from_hub_only=True),
        GRETAP,
    ),
    Fault(
        "vxlan-blocked",
        "the cloud drops UDP port 4789",
        ("UNDER-05", "UNDER-08"),
        _cloud_drops(Rule(LOAD_HALF, UDP_DESTINATION, JUMP_EQUAL, VXLAN_PORT)),
    ),
    Fault(
        "no-source-check",
        "the cloud lets foreign source addresses pass",
        ("UNDER-05", "UNDER-06"),
        _no_source_check,
    ),
    Fault("small-mtu", "the NICs' MTU is not the cloud's", ("UNDER-05",), _small_mtu),
    Fault("hidden-router", "a router that nobody knows of lies between the hosts", ("UNDER-07",), _hidden_router),
    Fault("sysctls-lost", "what sysctl -w had set is gone after a reboot", ("PRE-02", "ICMP-01"), _sysctls_lost),
    Fault(
        "carrier-dropped",
        "the hub's INPUT chain drops what carries the tunnels",
        ("PRE-03", "PRE-04"),
        _carrier_dropped,
    ),
    Fault(
        "inside-dropped",
        "the hub's INPUT chain accepts what carries the tunnels, and drops what comes out of them",
        ("PRE-04",),
        _inside_dropped,
    ),
    Fault(
        "stateful-only",
        "a spoke accepts GRE in state ESTABLISHED only",
        ("PRE-05",),
        _stateful_only,
        GRETAP,
    ),
    Fault(
        "forward-drop",
        "br_netfilter hands the hub's bridged packets to a FORWARD chain that drops",
        ("PRE-06",),
        _forward_drop,
    ),
    Fault(
        "strict-reverse-path",
        "rp_filter is 1 everywhere, and multicast is sent with the NIC's address as its source",
        ("PRE-07",),
        _strict_with_underlay_source,
    ),
    Fault(
        "foreign-source",
        "a spoke's outer source address is none that its VNIC owns",
        ("UNDER-06", "PRE-08"),
        _foreign_source,
    ),
    Fault(
        "second-address",
        "a spoke's outer source address is another one than the hub's remote",
        ("UNDER-06", "PRE-08"),
        _second_address,
        GRETAP,
    ),
    Fault("wrong-remote", "the hub's remote for a spoke is off by one", ("PRE-08",), _wrong_remote),
    Fault("tunnel-missing", "a spoke has no tunnel device", ("PRE-01", "PRE-11"), _no_tunnel),
    Fault("tunnel-down", "a spoke's tunnel device is down", ("PRE-01", "PRE-11"), _tunnel_down),
    Fault(
        "recursive-route",
        "a spoke's route to the tunnel's remote goes through the tunnel",
        ("PRE-12",),
        _recursive_route,
        GRETAP,
    ),
    Fault("prefix-32", "a spoke's overlay address is a /32", ("PRE-09",), _prefix(32)),
    Fault("prefix-16", "a spoke's overlay address is a /16", ("PRE-09",), _prefix(16)),
    Fault("duplicate-address", "two spokes have the same overlay address", ("PRE-09",), _duplicate_address),
    Fault("duplicate-mac", "two spokes have the same overlay MAC", ("PRE-10",), _mac_of_spoke),
    Fault("mac-of-hub-port", "a spoke has the MAC of a port of the hub", ("PRE-10",), _mac_of_hub_port),
)
