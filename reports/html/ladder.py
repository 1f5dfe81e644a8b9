"""
How far a datagram came, for the page: a ladder of the hosts, time downwards, where it was seen and where not.

    µs    spoke1      vcn        hub
     0    gretap1
    40    ens3
    48              → hub
    49                        → ens3
    49                          gretap1
                              ✗ gretap2: never

Tests record paths as `user_properties` entries named "path" (`lab.probes.capture.paths.Path` as data).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def view(path: Mapping[str, Any]) -> dict[str, Any]:
    """Return a path as the template shows it; `tone` is "failed" only where its end was not the expected one."""
    tone, received = _judged(path)
    return {
        "tone": tone,
        "text": f"{path['sender']} to {path['receiver']}: {received}",
        "hosts": list(dict.fromkeys(leg["node"] for leg in path["legs"])),
        "steps": list(_steps(path["legs"])),
        "frames": [(f"{leg['node']} {leg['interface']}", leg["frame"]) for leg in path["legs"] if leg.get("frame")]
        if tone == "failed"
        else [],
    }


def _steps(legs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return each place with the time since the first one, as far as clocks can be compared."""
    order = {leg["node"]: number for number, leg in reversed(list(enumerate(legs)))}
    before, time = "", 0.0
    for number, leg in enumerate(legs):
        known = number == 0 or leg["after"] is not None
        time += leg["after"] or 0.0
        arrow = "" if not before or before == leg["node"] else "→ " if order[leg["node"]] > order[before] else "← "
        before = leg["node"]
        yield {
            **leg,
            "where": leg["interface"] or "socket",
            "direction": leg["direction"] or "received",
            "arrow": arrow,
            "time": f"{time:.{1 if time < 10 else 0}f}" if known and leg["seen"] else "",
        }


def _judged(path: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a path is meant and in words."""
    if path["expected"] is None:
        return "unknown", f"received {path['heard']}; the test does not record how many were expected"
    tone = "right" if path["heard"] == path["expected"] else "failed"
    return tone, f"received {path['heard']} of {path['expected']}"


def pair(sender: object, receiver: object) -> str:
    """Return the anchor of the first failed path between two hosts."""
    return f"path-{sender}-{receiver}"
