"""Rules of IPsec: policies of a host that drop tunnel packets, or require protection without a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.diagnose.scene import HostScene, Scene
from lab.model import MULTICAST, Finding
from lab.tunnels import KINDS

COUNTERS = "Xfrm"  # the prefix of /proc/net/xfrm_stat, where every counter is one of errors (xfrm_proc.rst)
DIRECTIONS = {"in": "XfrmIn", "out": "XfrmOut", "fwd": "XfrmFwd"}
"""The directions of policies, and how the names of their counters begin."""
SHOW = "ip xfrm policy list    # and delete the one that is meant"
STAGES = ("encapsulation", "decapsulation", "sending", "delivery")


def policies(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Nothing that was lost at a host was lost to IPsec."""
    risen = {name: count for name, count in host.counted.items() if name.startswith(COUNTERS) and count > 0}
    stages = {loss.stage for loss in scene.losses if loss.node == host.name} & set(STAGES)
    sent = [one for one in scene.trial.exchanges if (one.sender, one.network) == (host.name, "overlay")]
    stages |= {"sending"} if any(exchange.refused for exchange in sent) else set()
    if not risen or not stages:
        return
    carried = stages & {"encapsulation", "decapsulation"}
    found = ", ".join(f"{name} rose by {count}" for name, count in sorted(risen.items()))
    fix = _removing(scene, host, risen, carried=bool(carried)) if scene.planned else SHOW
    yield host.declared("ipsec-drops", host.plan.nic if carried else host.plan.device, found, fix)


def _removing(scene: Scene, host: HostScene, risen: Iterable[str], *, carried: bool) -> str:
    """What removes the policies for tunnel packets, or packets in the tunnel, in the directions whose counters rose."""
    options = scene.topology.options
    protocol = f"udp dport {options.port}" if KINDS[options.kind].port else "gre"
    ip = "ip -6" if KINDS[options.kind].over_ipv6 else "ip"
    directions = [name for name in DIRECTIONS if any(counter.startswith(DIRECTIONS[name]) for counter in risen)]
    own, inside = host.plan.underlay.network, host.plan.overlay.network
    far = dict.fromkeys(other.plan.underlay.network for other in scene.hosts.values() if other is not host)
    selectors = {"out": [f"dst {inside}", f"dst {MULTICAST}"], "in": [f"src {inside}"]}
    if carried:
        selectors["out"] = [f"proto {protocol}", *(f"src {own} dst {network}" for network in far)]
        selectors["in"] = [f"proto {protocol}", *(f"src {network} dst {own}" for network in far)]
    removed = [(name, selector) for name in directions for selector in selectors.get(name, [])]
    return " ; ".join(f"{ip} xfrm policy deleteall dir {name} {selector}" for name, selector in removed) or SHOW


RULES = (policies,)
