"""
How far a datagram came, for the page: the hosts in order, in each the interfaces where it was seen, and where not.

Tests record paths as `user_properties` entries named "path" (`lab.probes.ways.Path` as data).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any


def view(path: Mapping[str, Any]) -> dict[str, Any]:
    """Return a path as the template shows it; `tone` is "failed" only where its end was not the expected one."""
    tone, received = _judged(path)
    return {
        "tone": tone,
        "text": f"{path['sender']} to {path['receiver']}: {received}",
        "hosts": [
            {"name": name, "legs": [_leg(leg) for leg in legs]}
            for name, legs in itertools.groupby(path["legs"], key=lambda leg: leg["node"])
        ],
    }


def _judged(path: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a path is meant and in words."""
    if path["expected"] is None:
        return "unknown", f"received {path['heard']}; the test does not record how many were expected"
    tone = "right" if path["heard"] == path["expected"] else "failed"
    return tone, f"received {path['heard']} of {path['expected']}"


def _leg(leg: Mapping[str, Any]) -> dict[str, Any]:
    after = leg["after"]
    return {
        **leg,
        "where": leg["interface"] or "socket",
        "direction": leg["direction"] or "received",
        "after": "" if after is None else f"{after:.{1 if after < 10 else 0}f}",
    }


def pair(sender: object, receiver: object) -> str:
    """Return the anchor of the first failed path between two hosts."""
    return f"path-{sender}-{receiver}"
