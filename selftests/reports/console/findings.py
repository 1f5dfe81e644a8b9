"""A finding as results have it, for tests of what shows it."""

from __future__ import annotations

from typing import Any

FINDING: dict[str, Any] = {
    "code": "port-not-bridged",
    "node": "hub",
    "interface": "gretap2",
    "summary": "hub gretap2 is not a port of bridge0 (no master)",
    "evidence": "broadcast from spoke1 reached hub gretap1 and was not forwarded",
    "remedy": "ip link set gretap2 master bridge0",
}
