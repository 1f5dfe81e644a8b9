"""
Faults of the tunnels: ends that do not agree, and options that change what the outer packet looks like.

The device stays up whatever is wrong: a tunnel has no handshake that could fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab.faults.actions import take_any_source
from lab.faults.fault import Inject
from lab.faults.places import victim
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.model import TunnelOptions
from lab.stack.changes import link_add, link_set
from lab.tunnels.gretap import gretap

KEY, OTHER_KEY = 42, 4242
FIXED_TTL = 64
LAYER3 = "gre-l3"
FALLBACK, FALLBACK_MAC = "gretap0", "02:00:00:00:ff:00"


def _everywhere(change: Callable[[TunnelOptions], dict[str, Any]]) -> Inject:
    """Both ends of every tunnel are made with other options, where that makes a difference."""

    def inject(lab: BuiltLab) -> None:
        options = lab.topology.options
        changed = change(options)
        if replace(options, **changed) != options:
            for spoke in lab.spokes:
                lab.remake_tunnel(lab.hub, spoke, **changed)
                lab.remake_tunnel(spoke, spoke, **changed)

    return inject


def _at_the_hub(change: Callable[[TunnelOptions], dict[str, Any]]) -> Inject:
    """The hub's end of one spoke's tunnel is made with other options than the spoke's."""
    return lambda lab: lab.remake_tunnel(lab.hub, victim(lab), **change(lab.topology.options))


def _layer3_too(lab: BuiltLab) -> None:
    """The hub has a layer-3 GRE device between the same addresses as a tunnel of the overlay."""
    ends = gretap(local=lab.hub.address("underlay"), remote=lab.spokes[0].address("underlay"))
    lab.hub.node.apply(link_add(LAYER3, {**ends, "kind": "gre"}))
    take_any_source(lab.hub, LAYER3)


def _fallback_up(lab: BuiltLab) -> None:
    """Every spoke's gretap0, which the driver makes and which takes GRE from anybody, is up."""
    for spoke in lab.spokes:
        # up, it only receives here: to transmit through one that is in a bridge has crashed a 6.1 kernel
        spoke.node.apply(link_set(FALLBACK, address=FALLBACK_MAC, up=True))
        take_any_source(spoke, FALLBACK)


FAULTS = read(
    """\
ttl-inherit: every tunnel copies the TTL of the packet inside
    red: WIRE-04 TTL-03 TTL-05 V6-02; green: BCAST-01; finding: tunnel-ttl-not-as-planned at hub {port}
ttl-fixed: every tunnel has a fixed TTL instead of the planned `ttl inherit`
    red: WIRE-04 TTL-02 TTL-04 TTL-05; green: BCAST-01; finding: tunnel-ttl-not-as-planned at hub {port}
tos-inherit: every tunnel copies the TOS of the packet inside
    red: WIRE-05; green: BCAST-01; finding: tunnel-tos-not-as-planned at hub {port}
nopmtudisc: every tunnel copies DF from the packet inside
    red: WIRE-06; green: BCAST-01; finding: tunnel-pmtudisc-not-as-planned at hub {port}; tunnels: gretap
df-set: the hub's end of one tunnel sets DF, which VXLAN leaves unset
    hub: ip link set {port} type vxlan df set
    red: WIRE-06; green: BCAST-01; finding: tunnel-df-mismatch at hub {port}; tunnels: vxlan
keyed: every tunnel has an unplanned key
    red: WIRE-01; green: BCAST-01; finding: tunnel-key-not-as-planned at hub {port}; tunnels: gretap
key-differs: hub and one spoke have different keys
    red: WIRE-07 HUB-02; finding: tunnel-key-mismatch at hub {port}; tunnels: gretap
checksum-one-side: the hub's end of one tunnel has csum, but the spoke's end does not (or the other way round)
    red: WIRE-08 HUB-02; finding: tunnel-checksum-mismatch at hub {port}; tunnels: gretap
sequence-one-side: the hub's end of one tunnel has seq, but the spoke's end does not (or the other way round)
    red: WIRE-08 HUB-02; finding: tunnel-sequence-mismatch at hub {port}; tunnels: gretap
layer3-gre: the hub also accepts IP in GRE from a spoke
    red: WIRE-09; green: BCAST-01; finding: layer3-tunnel at hub gre-l3; tunnels: gretap
fallback-up: gretap0 is up on the spokes, which accepts GRE from any address
    red: SEC-01 SEC-03 WIRE-03; green: BCAST-01; finding: fallback-tunnel-up at spoke1 gretap0; tunnels: gretap
    """,
    {
        "ttl-inherit": _everywhere(lambda options: {"ttl": None}),
        "ttl-fixed": _everywhere(lambda options: {"ttl": FIXED_TTL}),
        "tos-inherit": _everywhere(lambda options: {"tos_inherit": True}),
        "nopmtudisc": _everywhere(lambda options: {"pmtudisc": False}),
        "keyed": _everywhere(lambda options: {"key": options.key or KEY}),
        "key-differs": _at_the_hub(lambda options: {"key": OTHER_KEY}),
        "checksum-one-side": _at_the_hub(lambda options: {"checksum": not options.checksum}),
        "sequence-one-side": _at_the_hub(lambda options: {"sequence": not options.sequence}),
        "layer3-gre": _layer3_too,
        "fallback-up": _fallback_up,
    },
)
