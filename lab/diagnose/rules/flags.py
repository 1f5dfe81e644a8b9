"""Rules of the reverse path filter, other members of groups, and the flags of devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.diagnose.rules.extra_tunnels import LAYER3
from lab.diagnose.scene import HostScene, Scene
from lab.model import ALL_HOSTS, Finding
from lab.overlay import commands
from lab.probes.membership import groups_of

STRICT = 1
MOST_GROUPS = 5  # that one line names
EVERYBODYS = {ALL_HOSTS, "224.0.0.106", "224.0.0.251"}  # every host's, every snooping bridge's (RFC 4286), mDNS's


def reverse_path(host: HostScene) -> Iterator[Finding]:
    """Nothing of the overlay is dropped by the reverse path filter."""
    dropped = host.counted.get("TcpExtIPReversePathFilter", 0)
    device = host.plan.device
    strict = [name for name in ("all", device, host.plan.nic) if host.parameter("rp_filter", name) == STRICT]
    if not dropped or not strict:
        return
    loose = " ".join(f"net.ipv4.conf.{name}.rp_filter=2" for name in dict.fromkeys(["all", *strict]))
    yield host.declared("reverse-path-filter", device, dropped=dropped, strict=", ".join(strict), loose=loose)


def other_members(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """In a lab only the tests are members of groups."""
    if not scene.planned:
        return
    groups = sorted(groups_of(host.igmp).get(host.plan.device, frozenset()) - EVERYBODYS)
    if groups:
        yield host.declared("member-additional", host.plan.device, groups=_some(groups))


def _some(groups: Sequence[str]) -> str:
    more = f" and {len(groups) - MOST_GROUPS} more" if len(groups) > MOST_GROUPS else ""
    return ", ".join(groups[:MOST_GROUPS]) + more


def device_flags(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The NIC is up; the overlay devices are multicast devices and use ARP."""
    nic = host.nic
    if nic is not None and not nic.up:
        # what stood on the device went with it
        routed = f" && {commands.default_route(host.plan)}" if scene.planned else ""
        yield host.declared("nic-down", nic.name, routed=routed)
    devices = [*scene.topology.devices(host.name), *([host.plan.nic] if scene.planned else [])]
    for name in devices:
        device = host.seen.devices.get(name)
        if device is None or (device.tunnel is None and device.kind in LAYER3):
            continue  # another rule reports a tunnel of another kind
        if device.protodown and device.master is None:  # another rule reports ports
            yield host.declared("device-protodown", name)
        if not device.multicast and name != host.plan.nic:
            yield host.declared("device-not-multicast", name)
        if not device.arp and name in (host.plan.device, host.plan.nic):
            yield host.declared("device-noarp", name)


RULES = (reverse_path, other_members, device_flags)
