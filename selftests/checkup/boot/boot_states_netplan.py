"""Several files of netplan, which make one definition together, and what comes before the files that it generates."""

from __future__ import annotations

from collections.abc import Mapping

from lab.boot.formats import netplan
from selftests.checkup.boot.boot_states import PLAN, State
from selftests.checkup.boot.boot_states_unmatched import BY_NETPLAN, GROUPS, NETPLAN, UNIT

TEXT = BY_NETPLAN[netplan.FILE]
LATER = "/etc/netplan/95-later.yaml"
NO_ROUTE = f"the multicast route {GROUPS}"


def several(found: str, files: Mapping[str, str], *, ok: bool = False, done: str = "true", text: str = TEXT) -> State:
    """The plan's file of netplan, with others."""
    return State({netplan.FILE: text, **files}, "ok" if ok else "warning", found, "", (), done, needs=NETPLAN)


def later(found: str, tunnel: str, *, ok: bool = False, path: str = LATER) -> State:
    """A further file with these settings of the tunnel."""
    return several(found, {path: f"network:\n  tunnels:\n    gretap1: {{mode: gretap, {tunnel}}}\n"}, ok=ok)


LASTS = "are named in /etc/netplan"
STATES = {
    "netplan, a later file with another other end": later(
        "lacks the other end of a tunnel", "remote: 10.0.0.99, local: 10.0.0.25"
    ),
    "netplan, an earlier file with another other end": later(
        LASTS, "remote: 10.0.0.99, local: 10.0.0.25", path="/etc/netplan/10-first.yaml", ok=True
    ),
    "netplan, a later file with another MTU": later("has gretap1 mtu 1400", "mtu: 1400"),
    "netplan, a later file with a further address": later(LASTS, "addresses: [192.0.2.1/24]", ok=True),
    "netplan, a later file with the same address and another prefix": later(
        "has gretap1 address 172.16.254.2/16", "addresses: [172.16.254.2/16]"
    ),
    "netplan, a later file that takes it out": later("has activation-mode: off", "activation-mode: off"),
    "netplan, a later file with DHCP": later(LASTS, "dhcp4: true, optional: true, critical: true", ok=True),
    "netplan, a later file for NetworkManager": several(
        "NetworkManager.service is not enabled", {LATER: "network:\n  renderer: NetworkManager\n"}
    ),
    "netplan, an earlier file for NetworkManager": several(
        LASTS,
        {"/etc/netplan/10-first.yaml": "network:\n  renderer: NetworkManager\n"},
        text=TEXT.replace("version: 2", "version: 2\n  renderer: networkd"),
        ok=True,
    ),
    "netplan, a tunnel of a later file for NetworkManager": later(
        "NetworkManager.service is not enabled", "renderer: NetworkManager"
    ),
    "netplan, the route in a later file": several(
        LASTS,
        {
            LATER: "network:\n  tunnels:\n    gretap1:\n      mode: gretap\n"
            f"      routes: [{{to: {GROUPS}, scope: link}}]\n"
        },
        text=TEXT.replace(GROUPS, "192.0.2.0/24"),
        ok=True,
    ),
    "netplan, the route in another table": several(
        NO_ROUTE, {}, text=TEXT.replace("          scope: link", "          scope: link\n          table: 9")
    ),
    "netplan, a file of the distribution": State(
        {"/etc/netplan/10-nic.yaml": "network:\n  ethernets:\n    ens3: {dhcp4: true}\n"},
        "warning",
        "lost at the next boot",
        "",
        (),
        f"mkdir -p /run/netplan; printf '%s' '{TEXT}' >/run/netplan/90-overlay.yaml",
        needs=NETPLAN,
    ),
    "netplan, a file of networkd for its device first": several(
        "05-all.network matches the same device and comes first",
        {f"{UNIT}/05-all.network": "[Match]\nName=gre*\n[Network]\nDHCP=yes\n"},
    ),
    "netplan, a file of networkd for its device later": several(
        LASTS, {f"{UNIT}/50-all.network": "[Match]\nName=gre*\n[Network]\nDHCP=yes\n"}, ok=True
    ),
    "netplan, another other end and mode": later(
        f"lacks the other end of a tunnel {PLAN.hub.endpoint}", "remote: 10.0.0.98, local: 10.0.0.25"
    ),
}
