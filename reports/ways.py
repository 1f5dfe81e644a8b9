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
    """Return the paths of one failed test, those that did not end as expected first."""
    if not paths:
        return ""
    return '<div class="paths">' + "".join(_path(path) for path in paths) + "</div>"


def _path(path: Mapping[str, Any]) -> str:
    tone, received = _judged(path)
    nodes = [
        _node(name, list(legs), lost=tone == "failed")
        for name, legs in itertools.groupby(path["legs"], key=lambda leg: leg["node"])
    ]
    way = "".join(nodes) or f'<li class="{_end(lost=tone == "failed")}"><span>seen nowhere</span></li>'
    told = escape(f"{path['sender']} to {path['receiver']}: {received}")
    return f'<div class="{tone}"><p>{told}</p><ol class="path">{way}</ol></div>'


def _judged(path: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a path is meant and in words: only one whose end was not the expected one is a failure."""
    if path["expected"] is None:
        return "unknown", f"received {path['heard']}; the test does not record how many were expected"
    tone = "right" if path["heard"] == path["expected"] else "failed"
    return tone, f"received {path['heard']} of {path['expected']}"


def _node(name: object, legs: Sequence[Mapping[str, Any]], *, lost: bool) -> str:
    return f"<li><b>{escape(str(name))}</b>{''.join(_leg(leg, lost=lost) for leg in legs)}</li>"


def _end(*, lost: bool) -> str:
    return "lost" if lost else "end"


def _leg(leg: Mapping[str, Any], *, lost: bool) -> str:
    where = escape(str(leg["interface"] or "socket"))
    if not leg["seen"]:
        return f'<span class="{_end(lost=lost)}" title="it was not seen here">{where}: never</span>'
    carrier = f", in {leg['carrier']}" if leg["carrier"] else ""
    copies = f" ×{leg['copies']}" if leg["copies"] > 1 else ""
    after = leg["after"]
    later = "" if after is None else f" <i>+{after:.{1 if after < 10 else 0}f} µs</i>"
    title = escape(f"{leg['direction'] or 'received'}{carrier}")
    kind = ' class="carried"' if leg["carrier"] else ""
    return f'<span{kind} title="{title}">{where}{copies}{later}</span>'
