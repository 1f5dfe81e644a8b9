"""Rules of nftables as `nft -j list ruleset` lists their statements (libnftables-json(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.firewall import matches
from lab.firewall.matches import ACCEPT, CONTINUE, DROP, EITHER, RETURN, Branch, Match, Value

ACTIONS = {"accept": ACCEPT, "return": RETURN, **dict.fromkeys(("drop", "reject", "fwd"), DROP), "queue": EITHER}
SILENT = ("counter", "log", "flow", "set", "map", "ct helper", "ct timeout", "notrack", "last", "continue")
"""Statements that neither ask nor end anything."""
REWRITING = ("masquerade", "snat", "dnat", "redirect", "tproxy")
FIELDS = matches.by_word(
    {
        "incoming": "iifname, iif",
        "outgoing": "oifname, oif",
        "protocol": "l4proto, ip protocol, ip6 nexthdr",
        "source": "ip saddr, ip6 saddr",
        "destination": "ip daddr, ip6 daddr",
        "port": "tcp dport, udp dport, th dport",
        "state": "ct state",
        "status": "ct status",
        "kind": "fib daddr type, pkttype",
        "mark": "mark, ct mark",
        "length": "length, ip length",
        "icmp": "icmp type, icmpv6 type",
        "code": "icmp code, icmpv6 code",
        "ethertype": "ether type, protocol, nfproto",
        "ttl": "ip ttl, ip6 hoplimit",
        "tos": "ip dscp, ip6 dscp, ip ecn, ip6 ecn",
        "dmac": "ether daddr",
    },
    ", ",
)
ADDRESSED = re.compile(r"(ip6?|ether) [sd]addr|(udp|tcp|th) [sd]port")
"""What, when it is set, brings packets to another host or socket."""
ETHERTYPES = {"ip": "ip", "icmp": "ip", "ip6": "ip6", "icmpv6": "ip6", "arp": "arp", "vlan": "8021q"}
NEVER = (Match("ethertype", ()),)
ECN = {"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3}


def branches(expr: Sequence[Mapping[str, Any]]) -> Iterator[Branch]:
    """What a rule matches, and what it does: several where it has a map of verdicts, or alternatives."""
    found: list[tuple[Match, ...]] = [()]
    sets: list[Match] = []
    action, target = CONTINUE, ""
    for name, body in (next(iter(statement.items())) for statement in expr):
        if name == "match":
            found = [(*one, *more) for one in found for more in _alternatives(body)]
        elif name == "vmap":
            pairs = _flat(body["data"])
            if pairs is None:  # a map whose elements are not known
                action = EITHER
                break
            for key, verdict in pairs:
                outcome = _outcome(*next(iter(verdict.items())))
                keys = _alternatives({"left": body["key"], "op": "==", "right": key})
                yield from (Branch((*one, *more), *outcome) for one in found for more in keys)
            return
        elif name in ACTIONS or name in ("jump", "goto"):
            action, target = _outcome(name, body)
            break
        elif name == "mangle":
            sets.append(_set(body))
        elif name in REWRITING:
            sets.append(Match("address"))
        elif name == "dup":
            sets.append(Match("copies"))
        elif name not in SILENT:
            found = [(*one, Match(name)) for one in found]
    yield from (Branch(one, action, target, tuple(sets)) for one in found or [NEVER])


def _outcome(name: str, body: Any) -> tuple[str, str]:
    return (name, body["target"]) if name in ("jump", "goto") else (ACTIONS.get(name, EITHER), "")


def _alternatives(body: Mapping[str, Any]) -> list[tuple[Match, ...]]:
    """The matches of a comparison, any of which is enough: a set of several fields together has some."""
    left, elements = body["left"], _flat(body["right"])
    if "concat" in left and elements is not None and body["op"] != "!=":
        every = [zip(left["concat"], one["concat"], strict=False) for one in elements if "concat" in one]
        return [tuple(match for field, value in one for match in _matches(field, [value], "==")) for one in every]
    return [_matches(left, elements, body["op"])]


def _matches(left: Mapping[str, Any], elements: Sequence[Any] | None, op: str) -> tuple[Match, ...]:
    """A match, after those on the headers that its field is in."""
    mask: Any = -1
    if "&" in left:
        left, mask = left["&"]
    name = _name(left)
    layer = name.split()[0] if "payload" in left else ""
    field = FIELDS.get(name, name)
    implied = [Match("ethertype", (ETHERTYPES[layer],))] if layer in ETHERTYPES else []
    if layer in matches.PROTOCOLS:
        implied.append(Match("protocol", (matches.read("protocol", layer),)))
    shift = 2 if name.endswith(" dscp") else 0
    mask = 0xFC if shift else 3 if name.endswith(" ecn") else mask
    try:
        values = None if elements is None else tuple(_value(field, one, shift) for one in elements)
        if values and op in ("<", "<=", ">", ">="):
            values = tuple(_beyond(one, op) for one in values)
    except (ValueError, TypeError, LookupError):
        values = None
    plain = mask if isinstance(mask, int) else -1
    return (*implied, Match("icmp" if field == "code" else field, values if plain == mask else None, op == "!=", plain))


def _name(key: Mapping[str, Any]) -> str:
    """A field of a packet as nft writes it, without `meta`."""
    kind, body = next(iter(key.items()))
    if kind == "payload":
        return f"{body['protocol']} {body['field']}" if "protocol" in body else "raw"
    if kind == "fib":
        return " ".join(("fib", *body["flags"], body["result"]))
    return {"meta": "", "ct": "ct "}[kind] + str(body["key"]) if kind in ("meta", "ct") else str(kind)


def _flat(right: Any) -> list[Any] | None:
    """Every value of a set, a list, or the one; None where it names a set whose elements are not known."""
    if isinstance(right, str) and right.startswith("@"):
        return None
    every = right["set"] if isinstance(right, dict) and "set" in right else right
    every = every if isinstance(every, list) else [every]
    return [one["elem"]["val"] if isinstance(one, dict) and "elem" in one else one for one in every]


def _value(field: str, one: Any, shift: int = 0) -> Value:
    if isinstance(one, dict) and "prefix" in one:
        return matches.read(field, f"{one['prefix']['addr']}/{one['prefix']['len']}")
    first, last = one["range"] if isinstance(one, dict) else (one, one)
    low, high = (matches.read(field, str(_dscp(each) if field == "tos" else each)) for each in (first, last))
    return low if isinstance(low, str) else (low[0] << shift, high[1] << shift)


def _dscp(word: Any) -> Any:
    """The number of a class of traffic (RFC 2474, 2597, 3246), or of a mark of congestion."""
    text = str(word)
    if text[:2] == "cs" or text == "be":
        return int(text[2:] or "0") * 8
    if text[:2] == "af":
        return int(text[2]) * 8 + int(text[3]) * 2
    return 46 if text == "ef" else ECN.get(text, word)


def _beyond(value: tuple[int, int], op: str) -> tuple[int, int]:
    low, high = value
    return {"<": (0, low - 1), "<=": (0, high), ">": (high + 1, 1 << 32), ">=": (low, 1 << 32)}[op]


def _set(body: Mapping[str, Any]) -> Match:
    """What a statement sets."""
    name = _name(body["key"])
    value = body["value"]
    if ADDRESSED.fullmatch(name):
        return Match("address")
    (*_, match) = _matches(body["key"], [value] if isinstance(value, (int, str)) else None, "==")
    return match
