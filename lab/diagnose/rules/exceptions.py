"""A firewall's rules as those of the diagnosis see them: which of them drop, how they are quoted and put right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lab.diagnose.scene import HostScene, Scene
from lab.overlay.carrier import carrier_of
from lab.tunnels import KINDS

DROPPING = ("DROP", "REJECT", "drop", "reject", "NFQUEUE", "QUEUE", "queue")  # nobody who listens to a queue is known
QUOTED_LENGTH = 200
TARGET = re.compile(r"(^|\s)-[jg] .*$")
MODULE = re.compile(r"-m (tcp|udp|icmp|icmp6) ")
CHAIN = ("tool", "family", "table", "chain")
OF_A_TUNNEL = re.compile(r"(-p|--ip-proto|protocol|l4proto) (gre|47)\b|dport (4789|8472)\b")
Rule = Mapping[str, Any]


def text_of(rule: Rule) -> str:
    """A rule's own words; nothing of a chain's policy."""
    return str(rule.get("rule") or "")


def asks(rule: Rule) -> bool:
    """Whether a rule asks anything of a packet; a policy, or one that is nothing but a verdict, takes all."""
    words = text_of(rule)
    if rule.get("tool") == "nft":
        return words not in ("", "drop", "reject", "counter drop", "counter reject")
    return bool(TARGET.sub("", words).strip())


def of_carrier(host: HostScene, rule: Rule) -> bool | None:
    """Whether a rule speaks of what carries the tunnels, or of what is inside of them; None: it does not say."""
    words = text_of(rule).replace('"', "").split()
    if OF_A_TUNNEL.search(text_of(rule)) or host.plan.nic in words:
        return True
    return False if host.plan.device in words else None


def carrier(scene: Scene) -> tuple[str, str]:
    """What carries the tunnels, for iptables and for nft."""
    kind = scene.topology.options.kind
    carried = carrier_of(kind, ())
    # nft's `ip protocol` speaks of IPv4 alone
    return carried.iptables, "meta l4proto gre" if KINDS[kind].over_ipv6 else carried.nft


def inserted(rule: Rule, match: tuple[str, str]) -> str:
    """The command that puts an exception before a rule; `match` in the words of iptables and of nft."""
    tool = str(rule.get("tool"))
    if tool == "nft":
        return " ".join(filter(None, (f"nft insert rule {_chain(rule)}", match[1], "accept")))
    if tool.startswith("ebtables"):
        return f"{tool} -t {rule.get('table')} -I {rule.get('chain')} -j ACCEPT"
    if tool.startswith("arptables"):
        return f"{tool} -I {rule.get('chain')} -j ACCEPT"
    return f"{tool} -t {rule.get('table')} -I {rule.get('chain')} {match[0]} -j ACCEPT"


def deleted(rule: Rule) -> str:
    """The command that takes a rule out."""
    if rule.get("tool") == "nft":
        return f"nft delete rule {_chain(rule)} handle {rule.get('handle')}"
    return f"{rule.get('tool')} -t {rule.get('table')} -D {rule.get('chain')} {text_of(rule)}"


def excepted(host: HostScene, rule: Rule, match: tuple[str, str]) -> bool:
    """Whether a rule before this one, in its chain, accepts what `inserted` would have it accept."""
    same = [one for one in host.firewall if all(one.get(key) == rule.get(key) for key in CHAIN)]
    before = [one for one in same if text_of(one) and (not text_of(rule) or one["position"] < rule["position"])]
    wanted = match[1] if rule.get("tool") == "nft" else match[0]
    return any(str(one.get("verdict")).upper() == "ACCEPT" and _plain(one) == wanted for one in before)


def _plain(rule: Rule) -> str:
    """What a rule asks, without its verdict and what iptables and nft add of their own."""
    if rule.get("tool") == "nft":
        return text_of(rule).removesuffix(" accept").removesuffix(" counter")
    return MODULE.sub("", TARGET.sub("", text_of(rule))).strip()


def quoted(rule: Rule) -> str:
    """The rule as evidence: its table, its chain and its own words."""
    words = text_of(rule)
    said = f"-A {rule.get('chain')} {words}" if words else f"policy {rule.get('verdict')} of {rule.get('chain')}"
    return f"{rule.get('table')}: {said}"[:QUOTED_LENGTH]


def _chain(rule: Rule) -> str:
    return f"{rule.get('family')} {rule.get('table')} {rule.get('chain')}"
