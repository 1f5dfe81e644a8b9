"""
Both ends of every tunnel, side by side: what must agree and does not is marked.

    tunnel hub gretap1 - spoke1 gretap1
                 hub           spoke1
      local      10.0.0.197    10.0.0.25
      key        -             7            <- must agree
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.diagnose.words.devices import State
from lab.overlay import readback
from lab.overlay.readback import Device, Seen
from lab.tunnels.kind import TunnelEnd

AGREE = "<- must agree"


def tables(taken: Mapping[str, State]) -> list[str]:
    """A table for each tunnel of the nodes; an end whose other end is not found stands alone, with a note."""
    seen = {node.name: node for node in (_seen(name, state) for name, state in taken.items()) if node is not None}
    shown: set[tuple[str, str]] = set()
    found = []
    for node in seen.values():
        for device in node.tunnels():
            if (node.name, device.name) in shown:
                continue
            other = _other_end(seen, node, device)
            shown.add((node.name, device.name))
            if other is not None:
                shown.add((other[0].name, other[1].name))
            found.append("\n".join(_table(node, device, other, seen)))
    return found


def _seen(name: str, state: State) -> Seen | None:
    """None: what was read does not fit together, as when a device went between two readings."""
    readings = {what: state.get(what, []) for what in readback.READINGS}
    try:
        return readback.seen(name, readings, state.get("sysctls", {}))
    except (KeyError, ValueError):
        return None


def _other_end(seen: Mapping[str, Seen], node: Seen, device: Device) -> tuple[Seen, Device] | None:
    """The tunnel of the node that has the remote address, back to here; any tunnel back, if none fits exactly."""
    assert device.tunnel is not None
    own = {str(address.ip) for _, address in node.addresses} | {str(address.ip) for _, address in node.addresses6}
    owner = next((far for far in seen.values() if device.tunnel.remote and far.device_with(device.tunnel.remote)), None)
    if owner is None or owner is node:
        return None
    back = [far for far in owner.tunnels() if far.tunnel and far.tunnel.remote in own]
    # several tunnels between two hosts differ in key, VNI, port
    same = [far for far in back if far.tunnel and _told_by(far.tunnel) == _told_by(device.tunnel)]
    chosen = [*same, *back]
    return (owner, chosen[0]) if chosen else None


def _told_by(end: TunnelEnd) -> tuple[Any, ...]:
    return (end.kind, end.input_key, end.vni, end.port)


def _table(node: Seen, device: Device, other: tuple[Seen, Device] | None, seen: Mapping[str, Seen]) -> Iterator[str]:
    assert device.tunnel is not None
    if other is None:
        owner = next((far.name for far in seen.values() if far.device_with(str(device.tunnel.remote))), None)
        why = f"no tunnel back on {owner}" if owner else f"no node here has its remote {device.tunnel.remote}"
        yield f"tunnel {node.name} {device.name}: {why}"
        for name, value, _ in _rows(node, device):
            yield f"  {name:<10} {value}"
        return
    far, far_device = other
    rows = list(zip(_rows(node, device), _rows(far, far_device), strict=True))
    width = max(len(value) for (_, value, _), _ in [*rows, (("", node.name, ""), ("", "", ""))])
    far_width = max(len(value) for _, (_, value, _) in [*rows, (("", "", ""), ("", far.name, ""))])
    yield f"tunnel {node.name} {device.name} - {far.name} {far_device.name}"
    yield f"  {'':<10} {node.name:<{width}}  {far.name}"
    for (name, value, needs), (_, far_value, far_needs) in rows:
        if value == far_value == "-":
            continue
        mark = "" if _agree(needs, far_needs) else AGREE
        yield f"  {name:<10} {value:<{width}}  {far_value:<{far_width}}  {mark}".rstrip()
    yield from _crossed(node, device.tunnel, far, far_device.tunnel)


def _agree(needs: Any, far_needs: Any) -> bool:
    """What one end expects of what comes in, the other must do with what goes out, and the other way round."""
    return bool(needs == (far_needs[::-1] if isinstance(far_needs, tuple) else far_needs))


def _crossed(node: Seen, end: TunnelEnd, far: Seen, far_end: TunnelEnd | None) -> Iterator[str]:
    """Each end's remote must be the other's local, or any of its addresses where it pins none."""
    for here, mine, there, theirs in ((node, end, far, far_end), (far, far_end, node, end)):
        if mine is not None and theirs is not None and theirs.local and mine.remote != theirs.local:
            yield f"  {here.name} sends to {mine.remote}, {there.name} sends from {theirs.local}  {AGREE}"


def _rows(node: Seen, device: Device) -> Iterator[tuple[str, str, Any]]:
    """Name, value, and what of it must be the same at the other end (None: nothing)."""
    end = device.tunnel
    assert end is not None
    keys = (end.input_key, end.output_key)
    yield "device", f"{device.name} {'up' if device.up else 'DOWN'}", None
    yield "kind", end.kind, end.kind
    yield "local", end.local or "any", None
    yield "remote", end.remote or "-", None
    yield "ttl", "inherit" if end.ttl is None else str(end.ttl), None
    yield "tos", "inherit" if end.tos_inherit else "-", None
    yield "key", "-" if keys == (None, None) else "/".join("-" if key is None else str(key) for key in keys), keys
    yield "csum", _both(end.checksum), end.checksum
    yield "seq", _both(end.sequence), end.sequence
    yield "vni", "-" if end.vni is None else str(end.vni), end.vni
    yield "port", "-" if end.port is None else str(end.port), end.port
    yield "dev", end.link or "-", None
    yield "pmtudisc", "on" if end.pmtudisc else "off", None
    yield "ignore-df", "on" if end.ignore_df else "-", None
    yield "mtu", str(device.mtu), device.mtu
    yield "address", device.mac, None
    yield "master", device.master or "-", None
    yield "inside", ", ".join(str(address) for address in node.addresses_of(device.name)) or "-", None


def _both(flags: tuple[bool, bool]) -> str:
    """What is expected of what comes in, and done with what goes out."""
    way = ("in only", "out only")
    return {(False, False): "-", (True, True): "on"}.get(flags) or way[flags.index(True)]
