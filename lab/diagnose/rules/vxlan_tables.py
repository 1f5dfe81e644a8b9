"""Rules of a VXLAN device's own table, which leads to the one remote of its tunnel, and of what answers from it."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.overlay import commands
from lab.overlay.readback import Device
from lab.records import ANY_MAC, FdbEntry


def elsewhere(scene: Scene) -> Iterator[Finding]:
    """Every entry of a tunnel's table leads to the tunnel's remote, by its port and with its VNI, and one floods."""
    for host, far in scene.ends():
        device = scene.end(host, far.name)
        if device is None or device.tunnel is None or device.kind != "vxlan":
            continue
        own = [entry for entry in host.readings["fdb"] if entry.dev == device.name and entry.dst]
        foreign = [entry for entry in own if _differs(entry, device)]
        # of two for the remote the one that names the device's own NIC is the tunnel's
        flooding = [entry for entry in own if entry not in foreign and entry.lladdr == ANY_MAC]
        doubled = [entry for entry in flooding if not entry.via] if len(flooding) > 1 else []
        yield from (_finding(host, device, entry) for entry in (*foreign, *doubled))
        if device.tunnel.remote and not flooding:
            yield host.finding(
                "vxlan-flood-missing",
                device.name,
                f"{host.name} {device.name} has no all-zeros entry, so it floods no broadcast or multicast",
                f"bridge fdb: no {ANY_MAC} dst {device.tunnel.remote}",
                f"bridge fdb append {ANY_MAC} dev {device.name} dst {device.tunnel.remote}"
                + (f" via {device.tunnel.link}" if device.tunnel.link else ""),
                ("BCAST-01", "MCAST-01"),
            )


def proxies(scene: Scene) -> Iterator[Finding]:
    """No VXLAN device answers ARP from the host's own table instead of asking (ip-link(8): proxy)."""
    for host, far in scene.ends():
        device = scene.end(host, far.name)
        if device is not None and device.kind == "vxlan" and device.details.get("proxy"):
            yield host.finding(
                "vxlan-proxy",
                device.name,
                f"{host.name} {device.name} does not send ARP requests (proxy); it answers those that it can itself",
                f"ip -d link: {device.name} vxlan ... proxy",
                commands.again(scene.topology, host.plan, far.name, device),
                ("BCAST-08",),
            )


def _differs(entry: FdbEntry, device: Device) -> bool:
    assert device.tunnel is not None
    return bool(entry.dst != device.tunnel.remote or entry.port or entry.vni)


def _finding(host: HostScene, device: Device, entry: FdbEntry) -> Finding:
    mac, to = entry.lladdr, entry.dst
    further = (f" port {entry.port}" if entry.port else "") + (f" vni {entry.vni}" if entry.vni else "")
    what = "floods to" if mac == ANY_MAC else f"sends frames for {mac} to"
    return host.finding(
        "vxlan-entry-elsewhere",
        device.name,
        f"{host.name} {device.name} {what} {to}{further}, in addition to its tunnel's other end",
        f"bridge fdb: {mac} dst {to}{further} self",
        f"bridge fdb del {mac} dev {device.name} dst {to}{further} self",
        ("HUB-01", "BCAST-01"),
    )


RULES = (elsewhere, proxies)
