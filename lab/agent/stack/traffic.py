"""
What traffic control does to the frames of a stack: its queueing disciplines and its filters (tc(8)).

Decoded from the dumps themselves, as far as a lost, late or changed frame is to be explained: netem's and tbf's
settings, the matches and actions of the common classifiers.
Sources: linux/pkt_sched.h, pkt_cls.h, gen_stats.h, tc_act/*.h.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import zlib
from typing import Any, Callable

from lab.agent.rtnl import Transport, address, attributes, text
from lab.agent.stack.reading import DeviceNames

GETQDISC, GETTFILTER = 38, 46
KIND, OPTIONS, STATS2 = 1, 2, 7
STATS_BASIC, STATS_QUEUE = 1, 3
ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
INGRESS_HOOK, EGRESS_HOOK, INGRESS_QDISC = 0xFFFFFFF2, 0xFFFFFFF3, 0xFFFF0000
CLASSFUL = ("prio", "htb", "hfsc", "drr", "cbq", "ets")
COUNTERS = ("bytes", "packets", "backlog", "drops", "overlimits")
TICK = 64  # ns, a unit of the packet scheduler's clock
EVERY = 2**32 - 1  # a probability of 100 %
VERDICTS = dict(
    enumerate(("unspec", "ok", "reclassify", "shot", "pipe", "stolen", "queued", "repeat", "redirect", "trap"), -1)
)
# of each classifier: the attribute with its actions, and those with addresses, ports and types that it compares
ACTIONS = {"u32": 7, "bpf": 1, "flower": 3, "matchall": 2, "basic": 3, "fw": 4, "flow": 9, "cgroup": 1, "route": 6}
CHAIN, BLOCKS = 11, (13, 14)  # those that share the filters of ingress, of egress (tc(8): ingress_block)
BPF_LENGTH, BPF_OPS, BPF_NAME, BPF_FLAGS, BPF_DIRECT = 4, 5, 7, 8, 1
U32_DIVISOR, U32_SELECTOR = 4, 5
MIRRED_ACTIONS = {1: "redirect to egress of", 2: "mirror to egress of", 3: "redirect to ingress of"}
VLAN_ACTIONS = {1: "pop", 2: "push", 3: "modify", 4: "pop_eth", 5: "push_eth"}
FLOWER = {
    4: ("dst_mac", "mac"),
    6: ("src_mac", "mac"),
    8: ("eth_type", "hex"),
    9: ("ip_proto", "number"),
    10: ("src_ip", "ip"),  # its mask is the next attribute
    12: ("dst_ip", "ip"),
    18: ("src_port", "number"),
    19: ("dst_port", "number"),
    20: ("src_port", "number"),
    21: ("dst_port", "number"),
    73: ("ip_tos", "number"),
}
U32 = {
    (0, 0x00FF0000): ("ip_tos", 16),
    (8, 0x00FF0000): ("ip_proto", 16),
    (12, 0xFFFFFFFF): ("src_ip", 0),
    (16, 0xFFFFFFFF): ("dst_ip", 0),
    (20, 0xFFFF0000): ("src_port", 16),
    (20, 0x0000FFFF): ("dst_port", 0),
}
"""What u32 compares in an IPv4 packet without options, by offset and mask: flower's word, and the bits behind it."""
SKBEDIT_TYPE = 7


def qdiscs(transport: Transport) -> list[dict[str, Any]]:
    """
    Every queueing discipline: `kind`, `dev` and its `index`, `handle`, `parent`, counters, and its `settings`.

    Settings in units of their own: `delay` and `jitter` in s, `loss`, `duplicate`, `reorder` and `corrupt` in percent,
    `rate` and `peak` in bit/s, `limit` in packets (tbf, bfifo: octets), `burst` in s of `rate`.
    """
    names, found = DeviceNames(transport), []
    for message in transport.raw_dump(GETQDISC, bytes(20)):
        index, handle, parent = struct.unpack_from("=iII", message, 4)
        parts = dict(attributes(message, 20))
        kind = text(parts.get(KIND))
        entry: dict[str, Any] = {
            "kind": kind,
            "dev": names[index] or "",
            "index": index,
            "handle": f"{handle >> 16:x}:",
            "parent": _parent(parent),
            "settings": {},
            "blocks": tuple(_number(parts.get(each)) for each in BLOCKS),
            **_counted(parts.get(STATS2, b"")),
        }
        read = SETTINGS.get(kind)
        if read is not None:
            # a kernel may give less than this expects: what it is is said, its settings are not
            with contextlib.suppress(struct.error):
                entry["settings"] = read(parts.get(OPTIONS, b""))
        found.append(entry)
    return found


def filters(transport: Transport, among: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """
    Every filter, or those of the `qdiscs` that were read before (`among`): `kind`, `dev` and its `index`,
    `direction` (`ingress` or `egress`), `parent`, `priority`, `protocol`, `handle`, `name`, `program` (a checksum of
    its instructions), `match` in words, `classid`, and `actions`: each its `kind`, `verdict` and counters.
    """
    names, found = DeviceNames(transport), list[dict[str, Any]]()
    for qdisc in qdiscs(transport) if among is None else among:
        for direction, parent in _hooks(qdisc):
            request = struct.pack("=BxxxiIII", socket.AF_UNSPEC, qdisc["index"], 0, parent, 0)
            for message in transport.raw_dump(GETTFILTER, request):
                entry = _filter(names, message, qdisc, direction)
                if entry is not None:
                    found.append(entry)
    return found


def _hooks(qdisc: dict[str, Any]) -> list[tuple[str, int]]:
    if qdisc["kind"] == "clsact":
        return [("ingress", INGRESS_HOOK), ("egress", EGRESS_HOOK)]
    if qdisc["kind"] == "ingress":
        return [("ingress", INGRESS_QDISC)]
    if qdisc["kind"] in CLASSFUL:
        return [("egress", int(qdisc["handle"][:-1], 16) << 16)]
    return []


def _filter(names: DeviceNames, message: bytes, qdisc: dict[str, Any], direction: str) -> dict[str, Any] | None:
    _, handle, _, info = struct.unpack_from("=iIII", message, 4)
    parts = dict(attributes(message, 20))
    kind = text(parts.get(KIND))
    options = dict(attributes(parts.get(OPTIONS, b""), 0))
    if not handle or (kind == "u32" and U32_DIVISOR in options):
        return None  # the head of a chain, or u32's table: nothing that matches
    return {
        "kind": kind,
        "dev": qdisc["dev"],
        "index": qdisc["index"],
        "direction": direction,
        "parent": qdisc["handle"],
        "chain": _number(parts.get(CHAIN)),
        "block": qdisc["blocks"][direction == "egress"],
        "priority": info >> 16,
        "protocol": f"0x{socket.ntohs(info & 0xFFFF):04x}",
        "handle": f"0x{handle:x}",
        "name": text(options.get(BPF_NAME, b"")) if kind == "bpf" else "",
        "program": zlib.crc32(options[BPF_OPS]) if BPF_OPS in options else None,
        "match": _match(kind, options),
        "classid": _classid(kind, options),
        "actions": _actions(names, kind, options),
    }


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)


def _match(kind: str, options: dict[int, bytes]) -> str:
    if kind == "matchall":
        return "every packet"
    if kind == "bpf" and BPF_LENGTH in options:
        return f"{struct.unpack('=H', options[BPF_LENGTH])[0]} instructions"
    if kind == "flower":
        found = {number: form for number, form in FLOWER.items() if number in options}
        return " ".join(f"{name} {_value(options, number, form)}" for number, (name, form) in found.items())
    if kind == "u32" and U32_SELECTOR in options:
        selector = options[U32_SELECTOR]
        keys = selector[2]
        words = [struct.unpack_from("!IIii", selector, 16 + 16 * key)[:2] for key in range(keys)]
        offsets = [struct.unpack_from("=i", selector, 24 + 16 * key)[0] for key in range(keys)]
        return " ".join(_compared(at, value, mask) for (mask, value), at in zip(words, offsets))
    return ""


def _compared(at: int, value: int, mask: int) -> str:
    if (at, mask) not in U32:
        return f"{value:08x}/{mask:08x} at {at}"
    word, shift = U32[at, mask]
    return f"{word} {address(value.to_bytes(4, 'big')) if word.endswith('ip') else value >> shift}"


def _classid(kind: str, options: dict[int, bytes]) -> str:
    number = {"bpf": 3}.get(kind, 1)
    value = options.get(number, b"")
    return _parent(struct.unpack("=I", value)[0]) if len(value) == 4 and kind in ACTIONS and kind != "cgroup" else ""


def _actions(names: DeviceNames, kind: str, options: dict[int, bytes]) -> list[dict[str, Any]]:
    if kind == "bpf" and struct.unpack("=I", options.get(BPF_FLAGS, bytes(4)))[0] & BPF_DIRECT:
        return [{"kind": "bpf", "verdict": "direct-action"}]
    listed = attributes(options.get(ACTIONS.get(kind, -1), b""), 0)
    return [_action(names, dict(attributes(action, 0))) for _, action in listed]


def _action(names: DeviceNames, parts: dict[int, bytes]) -> dict[str, Any]:
    kind = text(parts.get(KIND))
    options = dict(attributes(parts.get(OPTIONS, b""), 0))
    found: dict[str, Any] = {"kind": kind, "verdict": "", **_counted(parts.get(4, b""))}
    parameters = options.get(1 if kind == "police" else 2, b"")
    if len(parameters) >= 12:
        # struct tc_gen of most actions; police has its verdict in the second word
        found["verdict"] = VERDICTS.get(struct.unpack_from("=i", parameters, 4 if kind == "police" else 8)[0], "?")
    if kind == "skbedit" and any(options.get(SKBEDIT_TYPE, b"")):
        found["verdict"] = f"packet type {_number(options[SKBEDIT_TYPE])}"
    if kind == "vlan" and len(parameters) >= 24:
        found["verdict"] = VLAN_ACTIONS.get(struct.unpack_from("=i", parameters, 20)[0], "?")
    if kind == "mirred" and len(parameters) >= 28:
        how, index = struct.unpack_from("=iI", parameters, 20)
        found["verdict"] = f"{MIRRED_ACTIONS.get(how, 'mirror to ingress of')} {names[index] or ''}"
    if kind == "gact" and len(options.get(3, b"")) >= 8:
        how, one_in, otherwise = struct.unpack_from("=HHi", options[3])
        if how:
            found["random"] = {"one_in": one_in, "verdict": VERDICTS.get(otherwise, "?")}
    return found


def _counted(stats: bytes) -> dict[str, int]:
    parts = dict(attributes(stats, 0))
    found = {}
    if len(parts.get(STATS_BASIC, b"")) >= 12:
        found["bytes"], found["packets"] = struct.unpack_from("=QI", parts[STATS_BASIC])
    if len(parts.get(STATS_QUEUE, b"")) >= 20:
        _, found["backlog"], found["drops"], _, found["overlimits"] = struct.unpack_from("=IIIII", parts[STATS_QUEUE])
    return found


def _netem(options: bytes) -> dict[str, Any]:
    latency, limit, loss, gap, duplicate, jitter = struct.unpack_from("=IIIIII", options)
    parts = dict(attributes(options, 24))
    found = {
        "delay": _nanoseconds(parts.get(10), latency),
        "jitter": _nanoseconds(parts.get(11), jitter),
        "limit": limit,
        "loss": _percent(loss),
        "gap": gap,
        "duplicate": _percent(duplicate),
        "reorder": _percent(struct.unpack_from("=I", parts.get(3, bytes(4)))[0]),
        "corrupt": _percent(struct.unpack_from("=I", parts.get(4, bytes(4)))[0]),
        "rate": struct.unpack_from("=Q", parts[8])[0] * 8
        if 8 in parts
        else struct.unpack_from("=I", parts.get(6, bytes(4)))[0] * 8,
    }
    models = dict(attributes(parts.get(5, b""), 0))
    if 1 in models or 2 in models:
        # correlated losses: the chance of the transition into the state that loses
        found["loss"] = _percent(struct.unpack_from("=I", models.get(1) or models[2])[0])
        found["model"] = "state" if 1 in models else "gemodel"
    return found


def _tbf(options: bytes) -> dict[str, Any]:
    parts = dict(attributes(options, 0))
    rate, peak, limit, buffer, _ = struct.unpack_from("=8xI8xIIII", parts[1])
    return {
        "rate": (struct.unpack_from("=Q", parts[4])[0] if 4 in parts else rate) * 8,
        "peak": (struct.unpack_from("=Q", parts[5])[0] if 5 in parts else peak) * 8,
        "limit": limit,
        "burst": buffer * TICK / 1e9,
    }


def _limit(options: bytes) -> dict[str, Any]:
    return {"limit": struct.unpack_from("=I", options)[0]}


SETTINGS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "netem": _netem,
    "tbf": _tbf,
    "pfifo": _limit,
    "bfifo": _limit,
}


def _nanoseconds(value: bytes | None, ticks: int) -> float:
    return (struct.unpack_from("=q", value)[0] if value else ticks * TICK) / 1e9


def _percent(share: int) -> float:
    return round(share * 100 / EVERY, 4)


def _value(options: dict[int, bytes], number: int, form: str) -> str:
    value, mask = options[number], options.get(number + 1, b"")
    if form == "mac":
        return str(address(value))
    if form == "ip":
        ones = bin(int.from_bytes(mask, "big")).count("1")
        return str(address(value)) + (f"/{ones}" if mask and ones < 32 else "")
    return f"0x{int.from_bytes(value, 'big'):04x}" if form == "hex" else str(int.from_bytes(value, "big"))


def _parent(number: int) -> str:
    if number == ROOT:
        return "root"
    if number == INGRESS:
        return "ingress"
    return f"{number >> 16:x}:{number & 0xFFFF:x}"
