"""Rules of IGMP snooping on the hub: the members that its bridge lists, when it prunes, and other queriers."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.rules.host.settings import GROUPS, LEAST_GROUPS
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.probes.host_state.membership import groups_of
from lab.probes.host_state.snooping import is_listed, port_of, prunes, versions_of

ALWAYS_A_ROUTER = 2  # mcast_router (bridge(8))
NEWEST = 3


def _parameter(scene: Scene, name: str) -> int | None:
    """A multicast parameter of the hub's bridge; None without a bridge, or of a kernel that has none."""
    device = scene.hub.device
    return None if device is None else device.details.get(f"mcast_{name}")


def _planned(scene: Scene, name: str, otherwise: int) -> int:
    return scene.topology.bridge_data.get(f"mcast_{name}", otherwise)


def bridge(scene: Scene, hub: HostScene) -> Iterator[Finding]:
    """The bridge snoops, its group table is large enough, and memberships outlive the query interval."""
    name = scene.topology.bridge
    snooping, groups = _parameter(scene, "snooping"), _parameter(scene, "hash_max")
    if groups is not None and groups < min(LEAST_GROUPS, _planned(scene, "hash_max", GROUPS)):
        yield hub.declared("group-table-small", name, groups=groups, snooping=snooping, wanted=GROUPS)
    held = _parameter(scene, "membership_interval")
    every, time = _parameter(scene, "query_interval"), _parameter(scene, "query_response_interval")
    if held is None or every is None or time is None:
        return
    wanted = _planned(scene, "membership_interval", 2 * every + time)
    if held < 2 * every + time and held != wanted:
        yield hub.declared("memberships-expire", name, held=held, every=every, wanted=wanted)


def ports(scene: Scene, spoke: HostScene) -> Iterator[Finding]:
    """No port is taken for a multicast router's unless there is one."""
    port = scene.end(scene.hub, spoke.name)
    if port is not None and scene.planned and port.flag("mcast_router") == ALWAYS_A_ROUTER:
        yield scene.hub.declared("router-port", port.name)


def queriers(scene: Scene, spoke: HostScene) -> Iterator[Finding]:
    """Only the hub sends IGMP queries."""
    asked = {entry["port"] for entry in scene.hub.readings.get("mdb_routers", ())}
    port = None if _parameter(scene, "querier") else scene.end(scene.hub, spoke.name)
    if port is None or port.name not in asked or port.flag("mcast_router") == ALWAYS_A_ROUTER:
        return
    versions = {host.name: versions_of(host.igmp).get(host.plan.device, NEWEST) for host in scene.hosts.values()}
    older = [name for name, version in versions.items() if version < NEWEST]
    answers = (f"its queries are of an older IGMP version, so {' and '.join(older)} report in that",) if older else ()
    own = spoke.device is not None and spoke.device.details.get("mcast_querier")
    fix = f"ip link set {spoke.plan.device} type bridge mcast_querier 0" if own else ""
    by_hand = () if own else (f"the querier is a program on {spoke.name}, not its bridge",)
    uses = "".join(f"; {one}" for one in (*by_hand, *answers))
    yield spoke.declared("querier-elsewhere", spoke.plan.device, fix=fix, port=port.name, uses=uses)


def unlisted(scene: Scene, hub: HostScene) -> Iterator[Finding]:
    """Where the hub prunes, it lists every member."""
    if hub.device is None or not prunes(hub.device.details):
        return
    listed = {(entry.port, entry.group) for entry in hub.readings["mdb"]}
    for host in scene.hosts.values():
        port = port_of(scene.topology, host.name)
        joined = groups_of(host.igmp).get(host.plan.device, frozenset())
        missing = sorted(group for group in joined if (port, group) not in listed and is_listed(group))
        if missing:
            found = f"{host.name} is a member of {', '.join(missing)}: /proc/net/igmp has it"
            found = f"{found}, the database of {scene.topology.bridge} has not"
            yield hub.declared("member-not-in-mdb", port, found, _flooding(scene))


def pruned(scene: Scene, hub: HostScene) -> Iterator[Finding]:
    """Groups go to their members: what was sent to one, and not to broadcast, does not end at a member's port."""
    queried = hub.device is not None and (prunes(hub.device.details) or hub.readings.get("mdb_routers"))
    if hub.device is None or not queried or not hub.device.details.get("mcast_snooping"):
        return
    ended = [loss for loss in scene.losses if loss.stage == "forwarding" and loss.node == hub.name and loss.whole]
    all_lost = {loss.missing.interface for loss in ended if loss.exchange.kind == "broadcast"}
    for spoke in scene.spokes:
        port = scene.end(hub, spoke.name)
        if port is None or port.name in all_lost or port.flag("mcast_flood") == 0:
            continue
        groups = [one for one in ended if one.exchange.kind == "multicast" and one.missing.interface == port.name]
        if groups:
            found = f"broadcast leaves hub by {port.name}; {groups[0]}"
            yield hub.declared("member-not-in-mdb", port.name, found, _flooding(scene))


def _flooding(scene: Scene) -> str:
    """What makes the hub flood groups again: no further queries, if the plan has no querier."""
    unplanned = scene.planned and _parameter(scene, "querier") and not _planned(scene, "querier", 0)
    return f"ip link set {scene.topology.bridge} type bridge {'mcast_querier' if unplanned else 'mcast_snooping'} 0"
