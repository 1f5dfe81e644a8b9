"""
The state of nodes, read all at once, and as text that a network engineer reads.

Every reading is made for itself: a node that is half set up, or a live host without root, shows what it can, and says
what it could not.

    taken = snapshot.take(lab.nodes.values())
    print(snapshot.text(taken))
    print(snapshot.activity(snapshot.take(lab.nodes.values()), before=taken))    what was counted meanwhile
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.diagnose import activities, ends, words
from lab.machines.base import Call
from lab.machines.node import Node, try_all

READINGS = (
    "links",
    "bridge_ports",
    "vlans",
    "addresses",
    "routes",
    "rules",
    "neighbours",
    "fdb",
    "mdb",
    "mdb_routers",
    "qdiscs",
    "filters",
)
FILES = ("igmp", "igmp6", "dev_mcast", "xfrm_stat")
EVERYWHERE = ("all", "default")
PER_DEVICE = (
    "net.ipv4.conf.{}.rp_filter",
    "net.ipv4.conf.{}.arp_ignore",
    "net.ipv4.conf.{}.accept_local",
    "net.ipv4.conf.{}.forwarding",
    "net.ipv4.conf.{}.bc_forwarding",
    "net.ipv4.conf.{}.mc_forwarding",
    "net.ipv4.conf.{}.force_igmp_version",
    "net.ipv4.conf.{}.proxy_arp",
    "net.ipv6.conf.{}.disable_ipv6",
)
SYSCTLS = (
    "net.ipv4.icmp_echo_ignore_all",
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_default_ttl",
    "net.ipv4.ip_no_pmtu_disc",
    "net.ipv4.igmp_max_memberships",
    "net.ipv4.igmp_max_msf",
    "net.core.rmem_default",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-arptables",
    "net.ipv6.icmp.echo_ignore_multicast",
)
MOST_DEVICES = 24  # whose own parameters are read: a machine full of containers has hundreds

State = dict[str, Any]
Taken = dict[str, State]


def take(nodes: Iterable[Node]) -> Taken:
    """
    The state of each node, by name and subject; `unread` says why a subject is missing.  Two round trips a machine.
    """
    looked_at = list(nodes)
    first = _answers([(node, what, call) for node in looked_at for what, call in _first(node)])
    second = _answers([(node, what, call) for node in looked_at for what, call in _second(node, first[node.name])])
    return {name: _merged(state, second.get(name, {})) for name, state in first.items()}


def _first(node: Node) -> list[tuple[str, Call]]:
    return [
        *((what, node.call("read", what=what)) for what in READINGS),
        *((name, node.call("read_net", name=name)) for name in FILES),
        ("counters", node.call("counters")),
        ("firewall", node.call("firewall")),
    ]


def _second(node: Node, state: State) -> list[tuple[str, Call]]:
    """What depends on the devices and addresses that there are."""
    devices = [*EVERYWHERE, *_concerned(state)[:MOST_DEVICES]]
    names = [*SYSCTLS, *(name.format(device.replace(".", "/")) for device in devices for name in PER_DEVICE)]
    own = [entry["IFA_ADDRESS"] for entry in state.get("addresses", ()) if entry.get("IFA_ADDRESS")]
    wanted = [*words.CARRIER_CONNECTIONS, *(f"src={address} " for address in own if not address.startswith("127."))]
    return [
        ("sysctls", node.call("sysctl_read", names=names)),
        ("connections", node.call("read_net", name="nf_conntrack", words=wanted)),
    ]


def _concerned(state: State) -> list[str]:
    """The devices that an overlay can be made of: bridges, their ports, tunnels, and whatever has an address."""
    links = state.get("links", ())
    addressed = {entry["index"] for entry in state.get("addresses", ())}
    return [
        str(link.get("IFLA_IFNAME"))
        for link in links
        if link.get("IFLA_MASTER") or link["index"] in addressed or words.kind(link) in ("bridge", *ends.TUNNELS)
        if link.get("IFLA_IFNAME") != "lo"
    ]


def _answers(asked: Sequence[tuple[Node, str, Call]]) -> Taken:
    taken: Taken = {node.name: {"unread": {}} for node, _, _ in asked}
    answers = try_all([(node, call) for node, _, call in asked])
    for (node, what, _), (answer, why) in zip(asked, answers, strict=True):
        if why is None:
            taken[node.name][what] = answer
        else:
            taken[node.name]["unread"][what] = why
    return taken


def _merged(first: State, second: State) -> State:
    return {**first, **second, "unread": {**first["unread"], **second.get("unread", {})}}


def text(taken: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """A snapshot for the eye: what is configured, then what was learned and counted (since `before`, if given)."""
    return f"{configuration(taken)}\n\n{activity(taken, before)}"


def configuration(taken: Mapping[str, Mapping[str, Any]]) -> str:
    """What somebody configured: equal texts, equal configurations."""
    nodes = ["\n".join([f"=== {name} ===", *words.configured(state)]) for name, state in taken.items()]
    return "\n\n".join([*nodes, *ends.tables(taken)])


def activity(taken: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """What the nodes learned and counted by themselves; with `before`, counters as far as they rose since."""
    since = " since the last look" if before else ""
    return "\n\n".join(
        "\n".join(
            [f"=== {name}: learned and counted{since} ===", *activities.lines(state, (before or {}).get(name, {}))]
        )
        for name, state in taken.items()
    )
