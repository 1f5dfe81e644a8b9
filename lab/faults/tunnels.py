"""
Faults of the tunnels: ends that do not agree, and options that change what the outer packet looks like.

The device stays up whatever is wrong: a tunnel has no handshake that could fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab.changes import link_add, link_set
from lab.faults.fault import Fault, Inject, Named
from lab.faults.means import take_any_source
from lab.faults.places import device, first_spoke, hub, hub_port, victim
from lab.laboratory import BuiltLab
from lab.model import TunnelOptions
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


FAULTS = (
    Fault(
        "ttl-inherit",
        "every tunnel inherits the TTL of what it carries",
        ("WIRE-04", "TTL-03", "TTL-05", "V6-02"),
        _everywhere(lambda options: {"ttl": None}),
        finding=Named("tunnel-ttl-not-as-planned", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "ttl-fixed",
        "every tunnel has a TTL of its own where `ttl inherit` was asked for",
        ("WIRE-04", "TTL-02", "TTL-04", "TTL-05"),
        _everywhere(lambda options: {"ttl": FIXED_TTL}),
        finding=Named("tunnel-ttl-not-as-planned", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "tos-inherit",
        "every tunnel copies the TOS of what it carries",
        ("WIRE-05",),
        _everywhere(lambda options: {"tos_inherit": True}),
        finding=Named("tunnel-tos-not-as-planned", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "nopmtudisc",
        "every tunnel leaves DF to what it carries",
        ("WIRE-06",),
        _everywhere(lambda options: {"pmtudisc": False}),
        tunnels=("gretap",),
        finding=Named("tunnel-pmtudisc-not-as-planned", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "keyed",
        "every tunnel has an unplanned key",
        ("WIRE-01",),
        _everywhere(lambda options: {"key": options.key or KEY}),
        tunnels=("gretap",),
        finding=Named("tunnel-key-not-as-planned", hub_port),
        greens=("BCAST-01",),
    ),
    Fault(
        "key-differs",
        "hub and one spoke have different keys",
        ("WIRE-07", "HUB-02"),
        _at_the_hub(lambda options: {"key": OTHER_KEY}),
        tunnels=("gretap",),
        finding=Named("tunnel-key-mismatch", hub_port),
    ),
    Fault(
        "checksum-one-side",
        "the hub's end of one tunnel has csum, the spoke's has not (or the other way round)",
        ("WIRE-08", "HUB-02"),
        _at_the_hub(lambda options: {"checksum": not options.checksum}),
        tunnels=("gretap",),
        finding=Named("tunnel-checksum-mismatch", hub_port),
    ),
    Fault(
        "sequence-one-side",
        "the hub's end of one tunnel has seq, the spoke's has not (or the other way round)",
        ("WIRE-08", "HUB-02"),
        _at_the_hub(lambda options: {"sequence": not options.sequence}),
        tunnels=("gretap",),
        finding=Named("tunnel-sequence-mismatch", hub_port),
    ),
    Fault(
        "layer3-gre",
        "the hub also accepts IP in GRE from a spoke",
        ("WIRE-09",),
        _layer3_too,
        tunnels=("gretap",),
        finding=Named("layer3-tunnel", device(hub, LAYER3)),
        greens=("BCAST-01",),
    ),
    Fault(
        "fallback-up",
        "gretap0 is up on the spokes, so that anybody's GRE is taken",
        ("SEC-01", "SEC-03", "WIRE-03"),
        _fallback_up,
        tunnels=("gretap",),
        finding=Named("fallback-tunnel-up", device(first_spoke, FALLBACK)),
        greens=("BCAST-01",),
    ),
)
