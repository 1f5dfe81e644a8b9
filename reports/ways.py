"""
Draws how far a datagram came: the nodes in order, in each the interfaces where it was seen, and where it was not.

Tests record paths as `user_properties` entries named "path" (`lab.probes.ways.Path` as data).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def drawn(paths: Sequence[Mapping[str, Any]]) -> str:
    """Return the paths of one failed check, those that did not end as they must first."""
    if not paths:
        return ""
    return '<div class="paths">' + "".join(_path(path) for path in paths) + "</div>"


def _path(path: Mapping[str, Any]) -> str:
    right = path["heard"] == path["expected"]
    told = f"{path['sender']} to {path['receiver']}: heard {path['heard']} of {path['expected']}"
    nodes = [_node(name, list(legs)) for name, legs in itertools.groupby(path["legs"], key=lambda leg: leg["node"])]
    way = "".join(nodes) or '<li class="lost"><span>seen nowhere</span></li>'
    return f'<div class="{"right" if right else "failed"}"><p>{escape(told)}</p><ol class="path">{way}</ol></div>'


def _node(name: object, legs: Sequence[Mapping[str, Any]]) -> str:
    return f"<li><b>{escape(str(name))}</b>{''.join(_leg(leg) for leg in legs)}</li>"


def _leg(leg: Mapping[str, Any]) -> str:
    where = escape(str(leg["interface"] or "socket"))
    if not leg["seen"]:
        return f'<span class="lost" title="it was not seen here">{where}: never</span>'
    carrier = f", in {leg['carrier']}" if leg["carrier"] else ""
    copies = f" ×{leg['copies']}" if leg["copies"] > 1 else ""
    after = leg["after"]
    later = "" if after is None else f" <i>+{after:.{1 if after < 10 else 0}f} µs</i>"
    title = escape(f"{leg['direction'] or 'received'}{carrier}")
    kind = ' class="carried"' if leg["carrier"] else ""
    return f'<span{kind} title="{title}">{where}{copies}{later}</span>'
