"""Checks that compare live hosts with each other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lab.checkup import pair_checks


@pytest.mark.parametrize(
    ("ids", "state", "found"),
    [
        (("", ""), "ok", "no host has one (/etc/machine-id): no MAC address is made from it"),
        (("a", ""), "ok", "spoke1 has none; the others differ"),
        (("a", "b"), "ok", "each host has its own"),
        (("a", "a"), "warning", "hub, spoke1 have the same: equal device names get equal MAC addresses there"),
    ],
)
def test_machine_ids(ids: tuple[str, str], state: str, found: str) -> None:
    """Hosts without a machine-id are not reported as having the same one."""
    hosts = {
        role: SimpleNamespace(details={"machine_id": one}) for role, one in zip(("hub", "spoke1"), ids, strict=True)
    }

    check = pair_checks._machine_ids(hosts)  # type: ignore[arg-type]

    assert (check.state, check.found) == (state, found)
