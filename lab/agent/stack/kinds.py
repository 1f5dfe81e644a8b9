"""
The parameters of a kind of link (bridge, gretap, vxlan, ...) under the names of ip-link(8).

pyroute2 has the number and type of each attribute; one without a name is named by its number, in hex.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Mapping
from typing import Any, Callable

from lab.agent.rtnl import address, attributes, text

BRIDGE = {45: "vlan_stats_per_port", 46: "multi_boolopt", 47: "mcast_querier_state", 48: "fdb_n_learned"}
HSR = ("slave1", "slave2", "multicast_spec", "supervision_addr", "seq_nr", "version", "protocol")
MORE = {"bridge": {**BRIDGE, 49: "fdb_max_learned"}, "hsr": dict(enumerate(HSR, 1))}
"""What pyroute2 does not know yet (linux/if_link.h)."""
LIKE = dict.fromkeys(("erspan", "ip6gre", "ip6gretap", "ip6erspan"), "gretap")
DEVICES = ("link", "slave1", "slave2", "active_slave")
"""Parameters that are another device: the one that a link is bound to, the legs of a PRP device, the one in use."""
MODES = {0: "none", 1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}  # of a macvlan

Names = Mapping[int, Any]
Form = Callable[[bytes], Any]


def _host(value: bytes) -> int | str:
    """A number in the machine's byte order; what is none in hex."""
    return int.from_bytes(value, sys.byteorder) if len(value) in (1, 2, 4, 8) else value.hex()


def _network(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _flag(value: bytes) -> bool:
    # some kernels' answers hold every flag, with an octet for those that are set
    return not value or any(value)


FORMS: dict[str, Form] = {
    "be16": _network,
    "be32": _network,
    "gre_flags": _network,
    "flag": _flag,
    "ip4addr": address,
    "ip6addr": address,
    "l2addr": address,
    "asciiz": text,
    "*ipaddr": bytes.hex,  # a list, which one address makes as long as a number
    "port_range": lambda value: "{}-{}".format(*struct.unpack("!HH", value)),
    "mode": lambda value: MODES.get(_network(value[::-1]), value.hex()) if len(value) == 4 else _host(value),
}


def decoded(kind: str, data: bytes, names: Names) -> dict[str, Any]:
    """The parameters of a link of a kind; other devices by name."""
    table = _table(kind)
    found = {}
    for number, value in attributes(data, 0):
        word, form = table.get(number) or (f"attribute {number}", _host)
        found[word] = names[int(_host(value))] if word in DEVICES and len(value) == 4 else form(value)
    return found


@functools.cache
def _table(kind: str) -> dict[int, tuple[str, Form]]:
    """Word and form of each attribute of a kind."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    of = ifinfmsg.ifinfo.data_map.get(LIKE.get(kind, kind))
    known = getattr(of, "nla_map", ())
    table = {number: (word(name), FORMS.get(form, _host)) for number, (name, form) in enumerate(known)}
    return {**table, **{number: (name, _host) for number, name in MORE.get(kind, {}).items()}}


def word(attribute: str) -> str:
    """The name that ip-link(8) has for most attributes: IFLA_BR_MCAST_QUERY_INTVL is mcast_query_interval."""
    return attribute.split("_", 2)[-1].lower().replace("intvl", "interval").replace("_cnt", "_count")
