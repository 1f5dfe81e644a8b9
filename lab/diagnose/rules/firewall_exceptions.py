"""A firewall's rules as those of the diagnosis see them: which of them drop, how they are quoted and put right."""

from __future__ import annotations

import re

from lab.diagnose.scene import HostScene, Scene
from lab.overlay.carrier import carrier_of
from lab.records import FirewallRule
from lab.tunnels import KINDS

DROPPING = ("DROP", "REJECT", "drop", "reject", "NFQUEUE", "QUEUE", "queue")  # a queue: its reader is unknown
QUOTED_LENGTH = 200
IGMP = ("-p igmp", "ip protocol igmp")
VERDICT = re.compile(r"(counter )?(drop|reject( with .*)?)?")
TARGET = re.compile(r"(^|\s)-[jg] .*$")
MODULE = re.compile(r"-m (tcp|udp|icmp|icmp6) ")
HOOKS = ("INGRESS", "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "EGRESS")
TABLE = ("tool", "family", "table")
CHAIN = (*TABLE, "chain")
OF_A_TUNNEL = re.compile(r"(-p|--ip-proto|protocol|l4proto) (gre|47)\b|dport (4789|8472)\b")


def has_match(rule: FirewallRule) -> bool:
    """Whether a rule has a match; a policy, or a rule with only a verdict, applies to all packets."""
    words = rule.rule
    if rule.tool == "nft":
        return VERDICT.fullmatch(words) is None
    return bool(TARGET.sub("", words).strip())


def of_carrier(host: HostScene, rule: FirewallRule) -> bool | None:
    """Whether a rule is about tunnel packets, or about the packets inside; None: about either."""
    words = rule.rule.replace('"', "").split()
    if OF_A_TUNNEL.search(rule.rule) or host.plan.nic in words:
        return True
    return False if host.plan.device in words else None


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


def inserted(rule: FirewallRule, match: tuple[str, str]) -> str:
    """
    The command that puts an exception before a rule; `match` in the words of iptables and of nft.

    The words of ebtables are not spoken here: its rules are taken out, and its policies changed.
    """
    tool = rule.tool
    if tool == "nft":
        return " ".join(filter(None, (f"nft insert rule {_chain(rule)}", match[1], "accept")))
    if tool.startswith("ebtables"):
        return deleted(rule) if rule.rule else f"{tool} -t {rule.table} -P {rule.chain} ACCEPT"
    if tool.startswith("arptables"):
        return f"{tool} -I {rule.chain} -j ACCEPT"
    return f"{tool} -t {rule.table} -I {rule.chain} {match[0]} -j ACCEPT"


def deleted(rule: FirewallRule) -> str:
    """The command that takes a rule out."""
    if rule.tool == "nft":
        return f"nft delete rule {_chain(rule)} handle {rule.handle}"
    return f"{rule.tool} -t {rule.table} -D {rule.chain} {rule.rule}"


def hooks(host: HostScene, rule: FirewallRule, seen: frozenset[str] = frozenset()) -> set[str]:
    """The hooks that a rule's chain hangs on, or those of the chains that jump to it."""
    chain = rule.chain
    own = (rule.hook or chain).upper()
    if own in HOOKS or chain in seen:
        return {own}
    same = [one for one in host.firewall if all(getattr(one, key) == getattr(rule, key) for key in TABLE)]
    callers = [one for one in same if chain in (one.verdict, *one.calls)]
    return set().union(*(hooks(host, one, seen | {chain}) for one in callers))


def excepted(host: HostScene, rule: FirewallRule, match: tuple[str, str]) -> bool:
    """Whether a rule before this one, in its chain, accepts what `inserted` would have it accept."""
    same = [one for one in host.firewall if all(getattr(one, key) == getattr(rule, key) for key in CHAIN)]
    before = [one for one in same if one.rule and (not rule.rule or one.position < rule.position)]
    wanted = match[1] if rule.tool == "nft" else match[0]
    return any(one.verdict.upper() == "ACCEPT" and plain(one) == wanted for one in before)


def dropping(host: HostScene, words: re.Pattern[str], exception: tuple[str, str]) -> list[FirewallRule]:
    """The rules of a host that drop what `words` describe, unless one before them accepts `exception`."""
    named = [rule for rule in host.firewall if rule.verdict in DROPPING and words.search(rule.rule)]
    return [rule for rule in named if not excepted(host, rule, exception)]


def plain(rule: FirewallRule) -> str:
    """A rule's match, without its verdict and the additions of iptables and nft."""
    if rule.tool == "nft":
        return rule.rule.removesuffix(f" {rule.verdict.lower()}").removesuffix(" counter")
    # iptables writes a protocol's number as its name where /etc/protocols has one
    return MODULE.sub("", TARGET.sub("", rule.rule)).strip().replace("-p vrrp", "-p 112")


def quoted(rule: FirewallRule) -> str:
    """The rule as evidence: its table, its chain and its own words."""
    words = rule.rule
    said = f"-A {rule.chain} {words}" if words else f"policy {rule.verdict} of {rule.chain}"
    return f"{rule.table}: {said}"[:QUOTED_LENGTH]


def counted(rule: FirewallRule) -> str:
    """The rule as evidence, with what it matched during the trial."""
    hits = "does not count" if rule.hits is None else f"matched {rule.hits} packets during the trial"
    return f"{quoted(rule)} ({rule.tool}) {hits}"


def _chain(rule: FirewallRule) -> str:
    return f"{rule.family} {rule.table} {rule.chain}"
