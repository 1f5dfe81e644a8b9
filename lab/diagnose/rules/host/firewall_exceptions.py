"""A firewall's rules as those of the diagnosis see them: where they hang, how they are quoted and put right."""

from __future__ import annotations

from ipaddress import ip_address, summarize_address_range

from lab.diagnose.scene import HostScene, Scene
from lab.firewall import xtables
from lab.firewall.matches import ACCEPT, Match, Value
from lab.firewall.rules import FirewallRule
from lab.overlay.recognition.readback import carrier_of
from lab.tunnels import KINDS

IPV4 = Match("ethertype", ("ip",))
IGMP = ("-p igmp", "ip protocol igmp")
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre"}
NARROWING = {  # fields of which an exception repeats one value: the words of iptables and of nft
    "protocol": ("-p {}", "meta l4proto {}"),
    "port": ("--dport {}", "th dport {}"),
    "source": ("-s {}", "{} saddr {}"),
    "destination": ("-d {}", "{} daddr {}"),
    "kind": ("-m pkttype --pkt-type {}", "meta pkttype {}"),
    "length": ("-m length --length {}", "meta length {}"),
}
HOOKS = ("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")


def of_carrier(host: HostScene, rule: FirewallRule) -> bool | None:
    """Whether a rule is about tunnel packets, or about the packets inside; None: about either."""
    matches = [one for one in rule.matches("incoming", "outgoing") if not one.negated]
    devices = [value for one in matches for value in one.values or ()]
    if rule.names(protocol=47) or any(rule.names(port=port) for port in (4789, 8472)) or host.plan.nic in devices:
        return True
    return False if host.plan.device in devices else None


def carrier(scene: Scene) -> tuple[str, str]:
    """The match of tunnel packets, for iptables and for nft."""
    kind = scene.topology.options.kind
    carried = carrier_of(kind, ())
    # nft's `ip protocol` matches IPv4 only
    return carried.iptables, "meta l4proto gre" if KINDS[kind].over_ipv6 else carried.nft


def bridged(bridge: str) -> tuple[str, str]:
    """What a bridge forwards, where a chain of IP sees it (br_netfilter), for iptables and for nft."""
    return "-m physdev --physdev-is-bridged", f'iifname "{bridge}"'


def by_ports(host: HostScene, *, going_out: bool = False) -> str:
    """What passes the ports of the overlay's bridge, for nft's family `bridge`."""
    ports = ", ".join(f'"{port.name}"' for port in host.seen.ports_of(host.plan.device))
    return f"{'oifname' if going_out else 'iifname'} {{ {ports} }}"


def narrowed(rule: FirewallRule, match: tuple[str, str]) -> tuple[str, str]:
    """The match with what the rule matches one value of (`NARROWING`): it accepts no more than the rule drops."""
    if len(rule.branches) != 1 or rule.family == "arp" or rule.tool.startswith("ebtables"):
        return match
    given = {one.field for one in xtables.branch(match[0]).matches}
    own = {one.field: one.values[0] for one in rule.matches(*NARROWING) if one.values and _exact(one)}
    found = [match]
    for field in NARROWING:
        if field in own and field not in given and (field != "port" or "protocol" in {*own, *given}):
            value = own[field]
            found += _words(field, *((value, value) if isinstance(value, str) else value))
    iptables, nft = (" ".join(filter(None, each)) for each in zip(*found, strict=True))
    return iptables, nft


def _exact(match: Match) -> bool:
    return not match.negated and match.mask == -1 and len(match.values or ()) == 1


def _words(field: str, low: Value, high: Value) -> list[tuple[str, str]]:
    iptables, nft = NARROWING[field]
    if field in ("source", "destination"):
        first, *further = summarize_address_range(ip_address(low), ip_address(high))
        return [] if further else [(iptables.format(first), nft.format("ip6" if first.version > 4 else "ip", first))]
    value = PROTOCOLS.get(low, low) if field == "protocol" else low
    return (
        [(iptables.format(f"{value}:{high}"), nft.format(f"{value}-{high}"))]
        if high > low
        else [(iptables.format(value), nft.format(value))]
    )


def inserted(rule: FirewallRule, match: tuple[str, str]) -> str:
    """
    The command that puts an exception before a rule; `match` in the words of iptables and of nft.

    The words of ebtables are not spoken here: its rules are taken out, and its policies changed.
    """
    tool = rule.tool
    if tool == "nft":
        return " ".join(filter(None, ("nft insert rule", *rule.place[1:], match[1], "accept")))
    if tool.startswith("ebtables"):
        return deleted(rule) if rule.rule else f"{tool} -t {rule.table} -P {rule.chain} ACCEPT"
    if tool.startswith("arptables"):
        return f"{tool} -I {rule.chain} -j ACCEPT"
    return f"{tool} -t {rule.table} -I {rule.chain} {match[0]} -j ACCEPT"


def deleted(rule: FirewallRule) -> str:
    """The command that takes a rule out."""
    if rule.tool == "nft":
        return f"nft delete rule {' '.join(rule.place[1:])} handle {rule.handle}"
    return f"{rule.tool} -t {rule.table} -D {rule.chain} {rule.rule}"


def hooks(host: HostScene, rule: FirewallRule, seen: frozenset[str] = frozenset()) -> set[str]:
    """The hooks that a rule's chain hangs on, or those of the chains that jump to it."""
    chain = rule.chain
    own = (rule.hook or chain).lower()
    if own in HOOKS or chain in seen:
        return {own}
    callers = [one for one in host.firewall if one.place[:3] == rule.place[:3] and chain in one.calls]
    return set().union(*(hooks(host, one, seen | {chain}) for one in callers))


def excepted(host: HostScene, rule: FirewallRule, match: tuple[str, str]) -> bool:
    """Whether a rule before this one, in its chain, accepts what `inserted` would have it accept."""
    # in the words of ebtables `-p` is the type of a frame
    wanted = {*xtables.branch(match[0], "ip6" if rule.family == "ip6" else "ip").matches}
    before = [one for one in host.firewall if one.place == rule.place and one.rule]
    before = [one for one in before if not rule.rule or one.position < rule.position]
    accepting = [branch for one in before for branch in one.branches if branch.action == ACCEPT]
    return any({*branch.matches} <= {*wanted, IPV4} for branch in accepting)
