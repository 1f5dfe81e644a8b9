"""Faults of trust: tunnels that take from anybody, and broadcast that is let in from outside."""

from __future__ import annotations

from lab.faults.fault import Fault
from lab.faults.means import take_any_source
from lab.faults.places import device, hub_nic, named
from lab.laboratory import Lab

ANYBODY, EXTERNAL = "anybody", "external"


def _wildcard(lab: Lab) -> None:
    """
    The hub has a tunnel without a remote.

    It is no port of the bridge: what a bridge floods to it goes, in GRE, to the address inside, which the bridge has,
    a recursion that crashes kernels.
    """
    ends = [["IFLA_GRE_LOCAL", lab.hub.address("underlay")]]
    lab.hub.node.apply(("link_add", {"device": ANYBODY, "kind": "gretap", "data": ends}))
    take_any_source(lab.hub, ANYBODY)


def _external(lab: Lab) -> None:
    """The hub bridges a tunnel whose other end each packet names; one that names none is dropped on its way out."""
    data = [["IFLA_GRE_COLLECT_METADATA", True]]
    lab.hub.node.apply(
        ("link_add", {"device": EXTERNAL, "kind": "gretap", "data": data, "master": lab.topology.bridge})
    )


def _amplifier(lab: Lab) -> None:
    names = ("all", lab.hub.plan.nic)
    directed = {f"net.ipv4.conf.{name}.bc_forwarding": 1 for name in names}
    lab.hub.node.write_sysctls({"net.ipv4.ip_forward": 1, **directed})


FAULTS = (
    Fault(
        "wildcard-tunnel",
        "the hub has a tunnel without a remote",
        ("SEC-01", "SEC-03"),
        _wildcard,
        tunnels=("gretap",),
        greens=("BCAST-01",),
        finding=named("fallback-tunnel-up", device(lambda lab: lab.hub, ANYBODY)),
    ),
    Fault(
        "external-tunnel",
        "the hub bridges an `external` tunnel, which takes GRE from anybody",
        ("SEC-01", "SEC-03"),
        _external,
        tunnels=("gretap",),
        greens=("BCAST-01",),
        finding=named("fallback-tunnel-up", device(lambda lab: lab.hub, EXTERNAL)),
    ),
    Fault(
        "bc-forwarding-on",
        "the hub forwards directed broadcast from outside to every spoke",
        ("SEC-05",),
        _amplifier,
        greens=("BCAST-01", "HUB-01"),
        finding=named("bc-forwarding-on", hub_nic),
    ),
)
