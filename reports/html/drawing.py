r"""
The overlay as a drawing: hosts with their addresses, tunnels by what passed them, the place of each finding.

             hub                     a tunnel failed when a packet between its two hosts was not delivered as expected,
           /     \                   or, where none was sent, every packet of a longer path over it
    gretap1       ✗ gretap2
     /                \              ✗: a finding at this device or host
  spoke1             spoke2
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.model import Topology
from lab.topology.graph import End, Graph, Tunnel
from reports.verdict.deliveries import KINDS, Matrix

MOST_HOSTS = 9
FEW = 3
"""Tunnels of a host whose devices have room beside its box; of more, they stand in the middle of the lines."""
BOX_WIDTH, BOX_HEIGHT = 176, 82
GAP, ROW, MARGIN = 24, 210, 4
LINES = (20, 38, 54, 72)
"""Where the lines of text in a box are, from its top."""


@dataclass(frozen=True)
class Text:
    """A text at a point; `kind` is its class in the page's style."""

    x: float
    y: float
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Box:
    """A host."""

    x: float
    y: float
    state: str
    texts: Sequence[Text]


@dataclass(frozen=True)
class TunnelLine:
    """A tunnel, with the device at each of its ends."""

    x1: float
    y1: float
    x2: float
    y2: float
    state: str
    labels: Sequence[Text]


@dataclass(frozen=True)
class Drawing:
    """What the template draws; `text` is the same in words."""

    width: float
    height: float
    boxes: Sequence[Box]
    lines: Sequence[TunnelLine]
    caption: str
    text: str
    box_width: float = field(default=BOX_WIDTH)
    box_height: float = field(default=BOX_HEIGHT)


def data(topology: Topology) -> dict[str, Any]:
    """Return an overlay as the results have it (`topology` of conformance.json)."""
    return {
        "name": topology.name,
        "hosts": [
            {
                "name": node.name,
                "role": node.role,
                "overlay": str(node.overlay),
                "underlay": str(node.underlay),
                "device": node.device,
                "nic": node.nic,
                "forwards": node.name in topology.forwarders,
            }
            for node in topology.nodes
        ],
        "tunnels": [[[end.host, end.device] for end in tunnel.ends] for tunnel in topology.tunnels],
    }


def drawing(
    overlay: Mapping[str, Any], tables: Sequence[Matrix], findings: Sequence[Mapping[str, Any]]
) -> Drawing | None:
    """Return the drawing of an overlay; None where there is none."""
    hosts = {str(host["name"]): host for host in overlay.get("hosts", ())}
    if not hosts:
        return None
    table = next((table for table in tables if table.network == "overlay"), Matrix("overlay", (), {}))
    accused = [finding for finding in findings if not finding.get("note")]
    tunnels = [Tunnel((End(*one), End(*other)), 0) for one, other in overlay["tunnels"]]
    states = _tunnel_states(tunnels, [name for name, host in hosts.items() if host["forwards"]], table)
    chosen = _chosen(hosts, tunnels, states, accused)
    places = _places([hosts[name] for name in chosen])
    lines = list(_lines(tunnels, states, places, accused))
    boxes = [_box(hosts[name], places[name], accused) for name in chosen]
    return Drawing(
        width=max(x for x, _ in places.values()) + BOX_WIDTH + MARGIN,
        height=max(y for _, y in places.values()) + BOX_HEIGHT + MARGIN,
        boxes=boxes,
        lines=lines,
        caption=_caption(len(hosts) - len(chosen)),
        text=_in_words(tunnels, states, accused),
    )


def _caption(left_out: int) -> str:
    more = f" {left_out} more {'host is' if left_out == 1 else 'hosts are'} not drawn." if left_out else ""
    return (
        "Each host with its overlay address and, below it, its address on the cloud's network. "
        f"Solid: delivered. Dashed: not as expected. Thin: not tested.{more}"
    )


def _tunnel_states(tunnels: Sequence[Tunnel], forwarders: Sequence[str], table: Matrix) -> dict[Tunnel, str]:
    """`passed`, `failed` or `untested`, by the packets between a tunnel's hosts, else by those of longer paths."""
    graph = Graph(tunnels, forwarders)
    direct: dict[Tunnel, set[str]] = {tunnel: set() for tunnel in tunnels}
    over: dict[Tunnel, set[str]] = {tunnel: set() for tunnel in tunnels}
    for sender in table.nodes:
        for receiver in table.nodes:
            marks = {str(table.mark(kind, sender, receiver)) for kind in KINDS} - {"untested"}
            if not marks or sender == receiver:
                continue
            for path in graph.paths(sender, receiver):
                for hop in path:
                    (direct if len(path) == 1 else over)[hop.tunnel].update(marks)
    return {tunnel: _state(direct[tunnel]) or _over(over[tunnel]) for tunnel in tunnels}


def _state(marks: set[str]) -> str:
    return "failed" if "wrong" in marks else "passed" if marks else ""


def _over(marks: set[str]) -> str:
    return "passed" if "delivered" in marks else "failed" if marks else "untested"


def _chosen(
    hosts: Mapping[str, Mapping[str, Any]],
    tunnels: Sequence[Tunnel],
    states: Mapping[Tunnel, str],
    accused: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The hosts that are drawn: of many, the hubs, those with a finding or a failed tunnel, then the first ones."""
    hubs = [name for name, host in hosts.items() if host["role"] == "hub"]
    found = [str(finding["node"]) for finding in accused if finding["node"] in hosts]
    failed = [end.host for tunnel in tunnels if states[tunnel] == "failed" for end in tunnel.ends if end.host in hosts]
    first = set(list(dict.fromkeys([*hubs, *found, *failed, *hosts]))[:MOST_HOSTS])
    return [name for name in hosts if name in first]


def _places(hosts: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """The upper left corner of each host: hubs above their spokes; without a hub, two in a row, more in a circle."""
    hubs = [str(host["name"]) for host in hosts if host["role"] == "hub"]
    others = [str(host["name"]) for host in hosts if host["role"] != "hub"]
    if hubs:
        widest = max(len(hubs), len(others))
        return {**_row(hubs, widest, 0), **_row(others, widest, 1)}
    if len(others) == 2:
        return {name: (MARGIN + number * (2 * BOX_WIDTH), MARGIN) for number, name in enumerate(others)}
    radius = max(ROW, len(others) * BOX_WIDTH / 4)
    return {
        name: (
            MARGIN + radius * (1 + math.sin(2 * math.pi * number / len(others))),
            MARGIN + radius * 0.7 * (1 - math.cos(2 * math.pi * number / len(others))),
        )
        for number, name in enumerate(others)
    }


def _row(names: Sequence[str], widest: int, row: int) -> dict[str, tuple[float, float]]:
    step = BOX_WIDTH + GAP
    first = MARGIN + (widest - len(names)) * step / 2
    return {name: (first + number * step, MARGIN + row * ROW) for number, name in enumerate(names)}


def _lines(
    tunnels: Sequence[Tunnel],
    states: Mapping[Tunnel, str],
    places: Mapping[str, tuple[float, float]],
    accused: Sequence[Mapping[str, Any]],
) -> Iterator[TunnelLine]:
    crowd = Counter(end.host for tunnel in tunnels for end in tunnel.ends)
    for tunnel in tunnels:
        one, other = tunnel.ends
        if one.host not in places or other.host not in places:
            continue
        start, end = _centre(places[one.host]), _centre(places[other.host])
        ends = [(one, start, end), (other, end, start)]
        labels = [_label(*each, accused, crowded=crowd[each[0].host] > FEW) for each in ends]
        yield TunnelLine(*start, *end, state=states[tunnel], labels=labels)


def _centre(corner: tuple[float, float]) -> tuple[float, float]:
    return corner[0] + BOX_WIDTH / 2, corner[1] + BOX_HEIGHT / 2


def _label(
    end: End,
    here: tuple[float, float],
    there: tuple[float, float],
    accused: Sequence[Mapping[str, Any]],
    *,
    crowded: bool,
) -> Text:
    """The device, beside its host's box on the way to the other end."""
    across, down = there[0] - here[0], there[1] - here[1]
    # the point where the line leaves the box, and a little further
    leaving = min(
        (BOX_WIDTH / 2) / abs(across) if across else math.inf, (BOX_HEIGHT / 2) / abs(down) if down else math.inf
    )
    length = math.hypot(across, down)
    share = 0.5 if crowded else min(0.45, leaving + 22 / length)
    found = any(finding["node"] == end.host and finding["interface"] == end.device for finding in accused)
    kind = "device mark" if found else "device"
    return Text(
        round(here[0] + share * across, 1),
        round(here[1] + share * down + 4, 1),
        f"✗ {end.device}" if found else end.device,
        kind,
    )


def _box(host: Mapping[str, Any], corner: tuple[float, float], accused: Sequence[Mapping[str, Any]]) -> Box:
    here = [finding for finding in accused if finding["node"] == host["name"]]
    codes = list(dict.fromkeys(str(finding["code"]) for finding in here))
    texts = [(host["name"], "name"), (host["overlay"], ""), (host["underlay"], "soft")]
    if codes:
        more = f" +{len(codes) - 1}" if len(codes) > 1 else ""
        texts.append((f"✗ {codes[0]}{more}", "mark"))
    middle = corner[0] + BOX_WIDTH / 2
    return Box(
        *corner,
        state="failed" if here else "",
        texts=[Text(middle, corner[1] + y, str(text), kind) for y, (text, kind) in zip(LINES, texts, strict=False)],
    )


def _in_words(tunnels: Sequence[Tunnel], states: Mapping[Tunnel, str], accused: Sequence[Mapping[str, Any]]) -> str:
    """The drawing for those who cannot see it."""
    failed = [" and ".join(end.host for end in tunnel.ends) for tunnel in tunnels if states[tunnel] == "failed"]
    parts = [f"{len(tunnels)} tunnels"]
    parts += [f"not as expected between {pair}" for pair in failed[:MOST_HOSTS]]
    parts += [f"{finding['code']} at {finding['node']} {finding['interface']}".rstrip() for finding in accused]
    return "The overlay: " + "; ".join(parts)
