"""Rules as iptables-save(8), ip6tables-save, ebtables and arptables write them after `-A CHAIN`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lab.firewall import matches
from lab.firewall.matches import ACCEPT, CONTINUE, DROP, EITHER, GOTO, JUMP, RETURN, Branch, Match

ACTIONS = matches.by_word(
    {
        ACCEPT: "ACCEPT",
        DROP: "DROP REJECT",
        RETURN: "RETURN",
        EITHER: "NFQUEUE QUEUE SYNPROXY STEAL",
        CONTINUE: "CONTINUE LOG NFLOG ULOG AUDIT TRACE LED IDLETIMER RATEEST SECMARK CONNSECMARK HMARK CLASSIFY "
        "TCPMSS SET CT NOTRACK CHECKSUM mark",
    }
)
SETTING = matches.by_word(
    {
        "address": "SNAT DNAT MASQUERADE REDIRECT NETMAP TPROXY snat dnat redirect",
        "mac": "arpreply mangle",
        "ttl": "TTL HL",
        "tos": "TOS DSCP ECN",
        "mark": "MARK CONNMARK",
        "copies": "TEE",
    }
)
"""What a target changes of a packet; it goes on to the next rule."""
FIELDS = matches.by_word(
    {
        "protocol": "-p --protocol --ip-proto --ip-protocol",
        "incoming": "-i --in-interface",
        "outgoing": "-o --out-interface",
        "source": "-s --source --ip-src --ip-source --src-range",
        "destination": "-d --destination --ip-dst --ip-destination --dst-range",
        "port": "--dport --dports --destination-port --ip-dport --ip-destination-port",
        "state": "--ctstate --state",
        "kind": "--dst-type --pkt-type --pkttype-type",
        "icmp": "--icmp-type --icmpv6-type --ip-icmp-type",
        "length": "--length",
        "mark": "--mark",
        "tos": "--tos --dscp --ip-tos",
    }
)
OF_FAMILY = {
    "bridge": {"-p": "ethertype", "-s": "smac", "-d": "dmac"},
    "arp": {"-p": "ethertype", "-s": "arp source", "-d": "arp destination"},
}
MANY = {"Unicast": ("unicast",), "Multicast": ("multicast", "broadcast"), "Broadcast": ("broadcast",)}
"""The destinations of ebtables(8) that are a class of addresses: Multicast has a mask that broadcast fulfils, too."""
BY_THEMSELVES = ("rpfilter", "socket")
"""Modules that match without an option."""


def branch(text: str, family: str = "ip") -> Branch:
    """What a rule matches, and what it does."""
    words = shlex.split(text)
    found: list[Match] = []
    negated = False
    while words:
        word = words.pop(0)
        values = [words.pop(0)] if word == "--comment" else []
        while words and not (words[0].startswith("-") and len(words[0]) > 1) and words[0] != "!":
            values.append(words.pop(0))
        if word == "!":
            negated = True
        elif word in ("-j", "--jump", "-g", "--goto"):
            target = values[0]
            if target in SETTING:
                return Branch(tuple(found), CONTINUE, sets=(_set(SETTING[target], words),))
            jump = GOTO if word in ("-g", "--goto") else JUMP
            return Branch(tuple(found), ACTIONS.get(target, jump), "" if target in ACTIONS else target)
        elif word in ("-m", "--match"):
            found += [Match(name) for name in values if name in BY_THEMSELVES]
        elif word != "--comment":
            found += _match(OF_FAMILY.get(family, {}).get(word) or FIELDS.get(word, word), word, values, negated)
            negated = False
    return Branch(tuple(found), CONTINUE)


def _match(field: str, word: str, values: Sequence[str], negated: bool) -> list[Match]:
    if field == "protocol" and values == ["all"]:
        return []
    if field == "dmac" and values and values[0] in MANY:
        return [Match("kind", MANY[values[0]], negated)]
    text, slash, masked = (values[0] if values else "").partition("/") if field in ("mark", "tos") else ("", "", "")
    try:
        mask = int(masked, 0) if slash else 0xFC if word == "--dscp" else -1
        texts = [text] if text else values[0].split(",")
        read = tuple(matches.read(field, one) for one in texts)
        if word == "--dscp":
            read = tuple((low << 2, high << 2) for low, high in read)
        return [Match(field, read, negated, mask)]
    except (ValueError, IndexError):  # not understood
        return [Match(field, None, negated)]


def _set(field: str, words: Sequence[str]) -> Match:
    """What a target sets: of marks and TOS the number, with its mask."""
    value, _, mask = (words[1] if len(words) > 1 else "").partition("/")
    try:
        number = int(value, 0) << (2 if words[0] == "--set-dscp" else 0)
        return Match(field, ((number, number),), mask=int(mask or "-1", 0))
    except ValueError:
        return Match(field)
