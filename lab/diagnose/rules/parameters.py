"""Rules of kernel parameters and device flags: what a host ignores, refuses or answers because it was told to."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.rules.strays import LAYER3
from lab.diagnose.scene import HostScene, Scene
from lab.model import ALL_HOSTS, Finding
from lab.overlay import commands
from lab.probes.membership import groups_of

# of a kernel that nobody has told otherwise (ip-sysctl.rst), and what a socket may do so often
SOCKET_LIMITS = {
    "net.ipv4.igmp_max_memberships": (20, "join {} groups"),
    "net.ipv4.igmp_max_msf": (10, "name {} sources of a group"),
}
STRICT = 1
ECHO_REPLY_BIT, RATE_MASK = 1 << 0, 6168  # of icmp_ratemask: type 0; the kernel's own (ip-sysctl.rst)
ICMP_LIMITS = {"icmp_msgs_per_sec": 1000, "icmp_msgs_burst": 50}  # the kernel's own
HARMLESS_ARP_IGNORE = (0, 1, 2)
EVERYBODYS = {ALL_HOSTS, "224.0.0.106", "224.0.0.251"}  # every host's, every snooping bridge's (RFC 4286), mDNS's


def broadcast_ping(scene: Scene) -> Iterator[Finding]:
    """Hosts answer echo requests to broadcast and multicast."""
    for host in scene.hosts.values():
        for name in ("icmp_echo_ignore_all", "icmp_echo_ignore_broadcasts"):
            full = f"net.ipv4.{name}"
            if host.parameter(full) == 0:
                continue
            if name.endswith("broadcasts") and scene.planned and not scene.topology.answer_broadcast_ping:
                continue
            yield host.finding(
                "broadcast-ping-ignored" if name.endswith("broadcasts") else "ping-ignored",
                "",
                f"{host.name} ignores echo requests" + (" to broadcast and multicast" * name.endswith("broadcasts")),
                f"{full} = {host.parameter(full)}",
                f"sysctl -w {full}=0",
            )


def reverse_path(scene: Scene) -> Iterator[Finding]:
    """Nothing of the overlay is dropped by the reverse path filter."""
    for host in scene.hosts.values():
        dropped = host.counted.get("TcpExtIPReversePathFilter", 0)
        device = host.plan.device
        strict = [name for name in ("all", device, host.plan.nic) if host.parameter("rp_filter", name) == STRICT]
        if not dropped or not strict:
            continue
        remedy = " ".join(f"net.ipv4.conf.{name}.rp_filter=2" for name in dict.fromkeys(["all", *strict]))
        yield host.finding(
            "reverse-path-filter",
            device,
            f"{host.name} drops what comes in where its own route to the source does not lead (rp_filter 1)",
            f"IPReversePathFilter rose by {dropped}; rp_filter is 1 on {', '.join(strict)}",
            f"sysctl -w {remedy}",
        )


def arp(scene: Scene) -> Iterator[Finding]:
    """Hosts answer ARP on the overlay."""
    for host in scene.hosts.values():
        device = host.plan.device
        ignoring = [name for name in ("all", device) if host.parameter("arp_ignore", name) not in HARMLESS_ARP_IGNORE]
        if ignoring:
            values = " ".join(f"net.ipv4.conf.{name}.arp_ignore=0" for name in ignoring)
            yield host.finding(
                "arp-unanswered",
                device,
                f"{host.name} does not answer ARP on {device}",
                ", ".join(f"arp_ignore of {name} is {host.parameter('arp_ignore', name)}" for name in ignoring),
                f"sysctl -w {values}",
            )
        for name in ("proxy_arp", "proxy_arp_pvlan"):
            if host.parameter(name, device) and scene.planned:
                yield host.finding(
                    "proxy-arp",
                    device,
                    f"{host.name} answers ARP on {device} in place of others and routes between them",
                    f"{name} of {device} is 1",
                    f"sysctl -w net.ipv4.conf.{device}.{name}=0",
                )


def memberships(scene: Scene) -> Iterator[Finding]:
    """Sockets may join as many groups as usual, by the newest IGMP."""
    for host in scene.hosts.values():
        for name, (usual, may) in SOCKET_LIMITS.items():
            limit = host.parameter(name)
            if host.has(name) and limit < usual:
                yield host.finding(
                    "memberships-limited",
                    "",
                    f"a socket of {host.name} may {may.format(limit)} only",
                    f"{name} = {limit}",
                    f"sysctl -w {name}={usual}",
                )
        for device in ("all", host.plan.device):
            version = host.parameter("force_igmp_version", device)
            if version:
                yield host.finding(
                    "igmp-version-forced",
                    host.plan.device,
                    f"{host.name} speaks IGMPv{version} only, which cannot name sources",
                    f"net.ipv4.conf.{device}.force_igmp_version = {version}",
                    f"sysctl -w net.ipv4.conf.{device}.force_igmp_version=0",
                )


def other_members(scene: Scene) -> Iterator[Finding]:
    """In a lab nobody is a member of a group but the tests."""
    if not scene.planned:
        return
    for host in scene.hosts.values():
        groups = sorted(groups_of(host.igmp).get(host.plan.device, frozenset()) - EVERYBODYS)
        if groups:
            yield host.finding(
                "member-besides",
                host.plan.device,
                f"another process of {host.name} is a member of {', '.join(groups)}",
                "/proc/net/igmp has it while no test listens",
                "ss -ulpn    # then stop that process",
            )


def device_flags(scene: Scene) -> Iterator[Finding]:
    """The NIC is up; the overlay devices are multicast devices and use ARP."""
    for host in scene.hosts.values():
        nic = host.seen.devices.get(host.plan.nic)
        if nic is not None and not nic.up:
            yield _nic_down(scene, host)
        devices = [*scene.topology.devices(host.name), *([host.plan.nic] if scene.planned else [])]
        for name in devices:
            device = host.seen.devices.get(name)
            if device is None or (device.tunnel is None and device.kind in LAYER3):
                continue  # of a tunnel of another kind another rule speaks
            if not device.multicast and name != host.plan.nic:
                yield host.finding(
                    "device-not-multicast",
                    name,
                    f"{host.name} {name} is no multicast device: the kernel neither joins nor routes groups there",
                    "the device lacks the flag MULTICAST",
                    f"ip link set {name} multicast on",
                )
            if not device.arp and name in (host.plan.device, host.plan.nic):
                yield host.finding(
                    "device-noarp",
                    name,
                    f"{host.name} {name} does not use ARP",
                    "the device has the flag NOARP",
                    f"ip link set {name} arp on",
                )


def _nic_down(scene: Scene, host: HostScene) -> Finding:
    # what stood on the device went with it
    routed = f" && {commands.default_route(host.plan)}" if scene.planned else ""
    return host.finding(
        "nic-down",
        host.plan.nic,
        f"{host.name} {host.plan.nic} is down: {'every spoke is' if host.plan.is_hub else 'it is'} cut off",
        "the device lacks the flag UP",
        f"ip link set {host.plan.nic} up{routed}",
    )


def echo_limits(scene: Scene) -> Iterator[Finding]:
    """Echo replies are not held back: they are in no mask of limited ICMP, and the host may send as much as usual."""
    for host in scene.hosts.values():
        masked = host.parameter("net.ipv4.icmp_ratemask") & ECHO_REPLY_BIT and host.parameter("net.ipv4.icmp_ratelimit")
        slow = [
            name
            for name, usual in ICMP_LIMITS.items()
            if host.has(f"net.ipv4.{name}") and host.parameter(f"net.ipv4.{name}") < usual
        ]
        wrong = [*(["icmp_ratemask"] if masked else []), *slow]
        if wrong:
            usual = {**ICMP_LIMITS, "icmp_ratemask": RATE_MASK}
            yield host.finding(
                "icmp-limited",
                "",
                f"{host.name} holds ICMP back that it should send: answers to pings, or errors",
                ", ".join(f"net.ipv4.{name} = {host.parameter(f'net.ipv4.{name}')}" for name in wrong),
                "sysctl -w " + " ".join(f"net.ipv4.{name}={usual[name]}" for name in wrong),
            )


RULES = (broadcast_ping, echo_limits, reverse_path, arp, memberships, other_members, device_flags)
