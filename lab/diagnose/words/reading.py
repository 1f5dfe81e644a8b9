"""What every description of a node needs: its devices by index, a link's kind, its kind's attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

State = Mapping[str, Any]


def names(state: State) -> dict[int, str]:
    """Device names by index."""
    return {link["index"]: str(link.get("IFLA_IFNAME")) for link in state.get("links", ())}


def kind(link: Mapping[str, Any]) -> str:
    return str((link.get("IFLA_LINKINFO") or {}).get("IFLA_INFO_KIND") or "")


def details(link: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a link's kind."""
    data = (link.get("IFLA_LINKINFO") or {}).get("IFLA_INFO_DATA")
    return data if isinstance(data, dict) else {}
