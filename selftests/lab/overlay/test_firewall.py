"""
What a firewall would do with a packet: worked out from the rules of those that cloud images and people use.

What is not understood leaves the verdict open: a rule that is misread as "accepted" hides a fault, one that is misread
as "dropped" is a false alarm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.agent.firewall import firewalls, nftables
from lab.checkup import underlay_checks
from lab.clouds.firmware import Carrier
from lab.firewall import xtables
from lab.firewall.matches import PacketPattern
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall
from lab.stack.records import typed

GRE = PacketPattern(47, incoming="ens3", source="10.0.0.25", destination="10.0.0.197")
ANSWER = PacketPattern(47, incoming="ens3", source="10.0.0.25", destination="10.0.0.197", state="established")
VXLAN = PacketPattern(17, incoming="ens3", source="10.0.0.25", destination="10.0.0.197", port=4789)
SSH = PacketPattern(6, incoming="ens3", source="10.0.0.25", destination="10.0.0.197", port=22)
BRIDGED = PacketPattern(17, "bridge0", "bridge0", "172.16.254.2", "172.16.254.255", kind="broadcast")

# Oracle Cloud's own images come with these
OCI = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
"""
DOCKER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-USER -j RETURN
"""
UFW = """*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
:ufw-not-local - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -m limit --limit 3/min -j LOG --log-prefix "[UFW BLOCK] "
-A ufw-not-local -j DROP
-A ufw-user-input -s 10.0.0.0/24 -p gre -j ACCEPT
-A ufw-user-input -p tcp -m multiport --dports 22,8000:8010 -j ACCEPT
"""


def match(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    """A comparison as `nft -j` lists it."""
    kind, _, field = key.partition(" ")
    payload = {"payload": {"protocol": kind, "field": field}}
    return {"match": {"op": op, "left": {kind: {"key": field}} if kind in ("meta", "ct") else payload, "right": right}}


def vmap(key: str, **verdicts: str) -> dict[str, Any]:
    """A map of verdicts."""
    data = {"set": [[one, {verdict: None}] for one, verdict in verdicts.items()]}
    return {"vmap": {"key": match(key, None)["match"]["left"], "data": data}}


def jump(target: str, how: str = "jump") -> dict[str, Any]:
    """A jump to a chain."""
    return {how: {"target": target}}


ACCEPT, DROP = {"accept": None}, {"drop": None}
LAN = {"prefix": {"addr": "10.0.0.0", "len": 24}}
PORT_OF_IPV6 = match("ip6 daddr", {"prefix": {"addr": "fe80::", "len": 64}}), match("udp dport", 546)
FIREWALLD = {
    "filter_INPUT input accept": [
        [match("ct state", {"set": ["established", "related"]}), ACCEPT],
        [match("ct status", "dnat", "in"), ACCEPT],
        [match("meta iifname", "lo"), ACCEPT],
        [match("ct state", "invalid", "in"), DROP],
        [jump("filter_INPUT_ZONES")],
        [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}],
    ],
    "filter_INPUT_ZONES": [
        [match("meta iifname", "ens3"), jump("filter_IN_public", "goto")],
        [jump("filter_IN_public", "goto")],
    ],
    "filter_IN_public": [
        [jump("filter_IN_public_allow")],
        [match("meta l4proto", {"set": ["icmp", "ipv6-icmp"]}), ACCEPT],
    ],
    "filter_IN_public_allow": [[match("tcp dport", 22), ACCEPT], [*PORT_OF_IPV6, ACCEPT]],
    "filter_FORWARD forward drop": [
        [vmap("ct state", invalid="drop", established="accept", related="accept")],
        [match("meta iifname", {"set": ["lo", "docker0"]}), match("meta oifname", "docker*"), ACCEPT],
        [{"log": {"prefix": "drop or accept: ", "flags": "all"}}, {"counter": {"packets": 0, "bytes": 0}}],
        [match("udp dport", 53, "!="), match("ip saddr", LAN), ACCEPT],
    ],
}
"""As firewalld makes it: chains by name, hook and policy."""
Chains = dict[str, list[list[dict[str, Any]]]]


def read(text: str | Chains, table: str = "firewalld") -> Firewall:
    """The firewall, as the agent hands on what a program lists."""
    return Firewall(typed("firewall", _saved(text) if isinstance(text, str) else list(listed(text, table))))


def _saved(text: str) -> list[dict[str, Any]]:
    return list(firewalls.parse_saved(text, "iptables-nft", "ip"))


def listed(chains: Chains, table: str) -> Iterator[dict[str, Any]]:
    """Chains as the agent lists them: a rule's text is its number."""
    for head, rules in chains.items():
        name, hook, policy = (*head.split(), "", "")[:3]
        place = {"tool": "nft", "family": "inet", "table": table, "chain": name, "hook": hook}
        if hook:
            yield {**place, "verdict": policy.upper()}
        yield from ({**place, "rule": f"{number}", "expr": expr} for number, expr in enumerate(rules, 1))


@pytest.mark.parametrize(
    ("text", "hook", "packet", "passes"),
    [
        ("", "input", GRE, True),
        (OCI, "input", GRE, False),
        (OCI, "input", ANSWER, True),
        (OCI, "input", SSH, True),
        (OCI, "forward", BRIDGED, False),
        (DOCKER, "input", GRE, True),
        (DOCKER, "forward", BRIDGED, False),
        (UFW, "input", GRE, True),
        (UFW, "input", VXLAN, False),
        (UFW, "input", PacketPattern(6, "ens3", port=8004), True),
        (UFW, "input", PacketPattern(6, "ens3", port=8011), False),
        (UFW, "input", PacketPattern(6, "ens3"), None),
        (FIREWALLD, "input", GRE, False),
        (FIREWALLD, "input", ANSWER, True),
        (FIREWALLD, "input", SSH, True),
        (FIREWALLD, "forward", BRIDGED, False),
        (FIREWALLD, "forward", PacketPattern(17, "eth1", "docker7", "10.0.0.25", port=5000), True),
        (FIREWALLD, "forward", PacketPattern(17, "eth1", "docker7", "10.0.0.25", port=53), False),
        (FIREWALLD, "forward", PacketPattern(6, "docker0", "docker7", "10.9.0.25"), True),
    ],
)
def test_what_becomes_of_a_packet(text: str | Chains, hook: str, packet: PacketPattern, passes: bool | None) -> None:
    """The verdict is the kernel's; if a rule matches a field that the packet leaves open, there is none."""
    assert read(text).of(packet, hook).passes is passes


@pytest.mark.parametrize(
    "rule",
    [
        "-m set --match-set peers src -j ACCEPT",
        "-m physdev --physdev-is-bridged -j ACCEPT",
        "-m recent --rcheck --name x --rsource -j ACCEPT",
        "-m u32 --u32 '0>>22&0x3C@4=0x1' -j ACCEPT",
        "-j NFQUEUE --queue-num 1",
        "-m comment --comment 'no end -j ACCEPT",
    ],
)
def test_what_is_not_understood_is_left_open(rule: str) -> None:
    """A rule that cannot be read makes no verdict, whatever follows it."""
    assert read(f"*filter\n:INPUT DROP [0:0]\n-A INPUT {rule}\n").of(GRE, "input").passes is None


@pytest.mark.parametrize(
    "expr",
    [
        [match("ip saddr", "@peers"), ACCEPT],
        [match("meta mark", 1), ACCEPT],
        [match("ip protocol", "@carriers"), ACCEPT],
        [match("ct helper", "x"), DROP],
        [{"limit": {"rate": 2}}, ACCEPT],
        [{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": "@verdicts"}}],
        [{"queue": {"num": 1}}],
        [{"match": "of another kind"}, ACCEPT],
    ],
)
def test_what_is_not_understood_of_nft_is_left_open(expr: list[dict[str, Any]]) -> None:
    """A rule that cannot be read makes no verdict, be it accepting or dropping."""
    assert read({f"c input {'accept' if DROP in expr else 'drop'}": [expr]}).of(GRE, "input").passes is None


CONCAT = {"concat": [{"meta": {"key": "iifname"}}, {"meta": {"key": "l4proto"}}]}


@pytest.mark.parametrize(
    ("rules", "passes"),
    [
        ([[match("ip saddr", {"set": ["10.0.0.7", {"range": ["10.0.0.20", "10.0.0.30"]}]}), DROP]], False),
        ([[match("ip saddr", {"set": []}), DROP]], True),
        ([[match("ip dscp", "ef"), DROP]], False),
        ([[match("ip dscp", "af41"), DROP]], True),
        ([[{"match": {"op": "==", "left": CONCAT, "right": {"set": [{"concat": ["ens3", "gre"]}]}}}, DROP]], False),
        ([[{"match": {"op": "==", "left": CONCAT, "right": {"set": [{"concat": ["ens3", "udp"]}]}}}, DROP]], True),
        ([[vmap("meta l4proto", udp="drop", gre="accept")], [DROP]], True),
        ([[{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 9}}], [match("meta mark", 9), DROP]], False),
        ([[{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 9}}], [match("meta mark", 8), DROP]], True),
        ([[match("meta length", 100, ">"), DROP]], False),
        ([[match("ether type", "arp"), DROP]], True),
    ],
)
def test_sets_maps_and_marks_of_nft_are_followed(rules: list[list[dict[str, Any]]], passes: bool) -> None:
    """The verdict is the kernel's with elements of sets and maps, fields that are compared, and marks set before."""
    packet = replace(GRE, tos=0xB8, length=200)
    assert read({"c input accept": rules}).of(packet, "input").passes is passes


@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        ("-d Multicast -j DROP", {"multicast", "broadcast"}),
        ("-d Broadcast -j DROP", {"broadcast"}),
        ("-d Unicast -j DROP", {"unicast"}),
        ("! -d Unicast -j DROP", {"multicast", "broadcast"}),
    ],
)
def test_classes_of_ebtables_match_their_frames(rule: str, kinds: set[str]) -> None:
    """A rule of ebtables about a class of addresses holds for frames of that class; Multicast has broadcast in it."""
    branch = xtables.branch(rule, "bridge")
    found = {kind: branch.holds(replace(BRIDGED, kind=kind)) for kind in ("unicast", "multicast", "broadcast")}

    assert found == {kind: kind in kinds for kind in found}


def test_the_rule_is_quoted() -> None:
    """The fix of a firewall names the rule."""
    assert read(OCI).of(GRE, "input").why == "INPUT: -j REJECT --reject-with icmp-host-prohibited (iptables-nft)"
    assert read(DOCKER).of(BRIDGED, "forward").why == "no rule of FORWARD accepts it, policy DROP (iptables-nft)"


def test_what_could_not_be_read_is_no_verdict() -> None:
    """A firewall that is there and hides its rules may do anything."""
    hidden = Firewall([FirewallRule("nft", "inet", "fw", unread="nft is not installed")])
    verdict = hidden.of(GRE, "input")
    assert verdict.passes is None
    assert "nft is not installed" in verdict.why


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (OCI, "sudo iptables -t filter -I INPUT -s 10.0.0.25 -p gre -j ACCEPT"),
        (UFW, "sudo ufw insert 1 allow in proto gre from 10.0.0.25"),
        (FIREWALLD, "sudo firewall-cmd --permanent --add-protocol=gre && sudo firewall-cmd --reload"),
        ("mine", "sudo nft insert rule inet mine filter_INPUT ip saddr 10.0.0.25 ip"),
    ],
)
def test_the_remedy_is_that_of_the_tool(text: str | Chains, command: str) -> None:
    """A rule is added with the tool that has the others."""
    firewall = read(FIREWALLD, "mine") if text == "mine" else read(text)
    assert underlay_checks.accepting(firewall, Carrier(47), "10.0.0.25").startswith(command)


LISTED = """
table inet guard { # handle 1
	set trusted { # handle 3
		type ipv4_addr
		elements = { 10.0.0.25,
			10.0.0.131 }
	}

	map verdicts { # handle 4
		type inet_proto : verdict
		elements = { udp : accept, gre : jump extra }
	}

	chain extra { # handle 1
		ip protocol gre drop # handle 5
	}

	chain input { # handle 2
		type filter hook input priority filter; policy drop;
		ip saddr @trusted counter packets 7 bytes 588 accept comment "these; { drop }" # handle 6
		ip protocol vmap @verdicts # handle 7
		ip saddr { 10.0.0.1, 10.0.0.2,
			10.0.0.3 } drop # handle 9
	}
}
"""
GUARD = {"family": "inet", "table": "guard"}
BASE = {"type": "filter", "hook": "input", "prio": 0, "policy": "drop"}
EXPR = (
    ("extra", 5, [match("ip protocol", "gre"), DROP]),
    ("input", 6, [match("ip saddr", "@trusted"), {"counter": {"packets": 7, "bytes": 588}}, ACCEPT]),
    ("input", 7, [{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": "@verdicts"}}]),
    ("input", 9, [match("ip saddr", {"set": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]}), DROP]),
    ("input", 10, [DROP]),
)
OBJECTS = [
    {"metainfo": {"version": "1.0.6"}},
    {"set": {**GUARD, "name": "trusted", "type": "ipv4_addr", "elem": ["10.0.0.25", "10.0.0.131"]}},
    {"map": {**GUARD, "name": "verdicts", "elem": [["udp", ACCEPT], ["gre", jump("extra")]]}},
    {"chain": {**GUARD, "name": "extra", "handle": 1}},
    {"chain": {**GUARD, "name": "input", "handle": 2, **BASE}},
    *({"rule": {**GUARD, "chain": chain, "handle": handle, "expr": expr}} for chain, handle, expr in EXPR),
]
"""As `nft -j list ruleset` has the same rules, and one that was added meanwhile."""


def test_nft_rules_have_their_statements_and_their_text() -> None:
    """A rule has its text, also over two lines, its handle and counters, and the elements of what it names."""
    rules = typed("firewall", firewalls.nft_rules(LISTED, json.dumps({"nftables": OBJECTS})))

    assert [(one.chain, one.hook, one.rule, one.handle, one.position, one.packets) for one in rules] == [
        ("input", "input", "", None, 0, None),
        ("extra", "", "ip protocol gre drop", 5, 1, None),
        ("input", "input", 'ip saddr @trusted counter accept comment "these; { drop }"', 6, 1, 7),
        ("input", "input", "ip protocol vmap @verdicts", 7, 2, None),
        ("input", "input", "ip saddr { 10.0.0.1, 10.0.0.2, 10.0.0.3 } drop", 9, 3, None),
    ]
    assert [one.drops for one in rules] == [True, True, False, False, True]
    assert rules[3].calls == ("extra",)
    trusted = rules[2].matches("source")[0]
    assert [trusted.holds(PacketPattern(source=one)) for one in ("10.0.0.131", "10.0.0.9")] == [True, False]


def test_configuration_and_symbols_agree_on_what_is_built_in() -> None:
    """Where the kernel shows its configuration and its symbols, nf_tables is built in by both or by neither."""
    configured = nftables.configured()
    if configured is None or Path("/sys/module/nf_tables").exists():
        pytest.skip("the kernel shows no configuration (CONFIG_IKCONFIG_PROC), or has loaded the module")

    assert configured == nftables.has_symbols()
