"""Files that make the overlay's devices with other settings than they have now: prefix, MTU, TTL, key, kind, metric."""

from __future__ import annotations

from lab.boot.formats import netplan
from selftests.checkup.boot.boot_states import BY_HAND, BY_NETWORK_MANAGER, BY_NETWORKD, NODE, State, changed
from selftests.checkup.boot.boot_states_branches import LINES
from selftests.checkup.boot.boot_states_scripts import script
from selftests.checkup.boot.boot_states_unmatched import (
    BY_NETPLAN,
    GROUPS,
    OF_TUNNEL,
    STANZA,
    UNIT,
    by_ifupdown,
    by_netplan,
    by_network_manager,
    by_network_scripts,
    by_networkd,
    by_script,
    ifcfg,
)

OTHER = "has gretap1 {} {}; now: {}"
ADDRESS, SHORT, LONG = str(NODE.overlay), f"{NODE.overlay.ip}/16", f"{NODE.overlay.ip}/32"
WIDE, HOST = OTHER.format("address", SHORT, ADDRESS), OTHER.format("address", LONG, ADDRESS)
NETDEV = f"{UNIT}/50-gretap1.netdev"
TEXT = BY_NETPLAN[netplan.FILE]
MAKES = "ip link add gretap1 type gretap remote 10.0.0.197 local 10.0.0.25 ttl 64"

STATES: dict[str, State] = {
    # prefixes
    "networkd, another prefix": by_networkd(WIDE, changed(BY_NETWORKD, ADDRESS, SHORT)),
    "networkd, no prefix": by_networkd("without a prefix; now", changed(BY_NETWORKD, ADDRESS, str(NODE.overlay.ip))),
    "netplan, another prefix": by_netplan(WIDE, TEXT.replace(ADDRESS, SHORT)),
    "NetworkManager, another prefix": by_network_manager(WIDE, changed(BY_NETWORK_MANAGER, ADDRESS, SHORT)),
    "NetworkManager, no prefix": by_network_manager(HOST, changed(BY_NETWORK_MANAGER, ADDRESS, str(NODE.overlay.ip))),
    "ifupdown, another prefix": by_ifupdown(WIDE, STANZA.replace(ADDRESS, SHORT)),
    "ifupdown, a netmask": by_ifupdown(
        "are named in", STANZA.replace(ADDRESS, f"{NODE.overlay.ip}\n    netmask 255.255.255.0"), ok=True
    ),
    "ifupdown, another netmask": by_ifupdown(
        WIDE, STANZA.replace(ADDRESS, f"{NODE.overlay.ip}\n    netmask 255.255.0.0")
    ),
    "network-scripts, another prefix": by_network_scripts(
        WIDE, {**changed(ifcfg(), "PREFIX=24", "PREFIX=16"), **by_script(MAKES)}
    ),
    "a script, another prefix": script(WIDE, BY_HAND.replace(ADDRESS, SHORT)),
    "a script, no prefix": script(HOST, BY_HAND.replace(ADDRESS, str(NODE.overlay.ip))),
    "a script, the address by ifconfig": script(
        WIDE, f"{MAKES}\nifconfig gretap1 {NODE.overlay.ip} netmask 255.255.0.0 up\nip route add {GROUPS} dev gretap1"
    ),
    # other settings of a device
    "networkd, another MTU": by_networkd(
        "has gretap1 mtu 1400; now", changed(BY_NETWORKD, "MTUBytes=8962", "MTUBytes=1400")
    ),
    "networkd, another TTL": by_networkd("has gretap1 ttl 1; now: 64", changed(BY_NETWORKD, "TTL=64", "TTL=1")),
    "networkd, a key": by_networkd("has gretap1 key 7; now: none", changed(BY_NETWORKD, "TTL=64", "TTL=64\nKey=7")),
    "networkd, another kind": by_networkd(
        "has gretap1 kind gre; now: gretap", changed(BY_NETWORKD, "Kind=gretap", "Kind=gre")
    ),
    "networkd, another other end by a drop-in": by_networkd(
        "has gretap1 remote 10.0.0.99; now: 10.0.0.197",
        {**BY_NETWORKD, f"{NETDEV}.d/x.conf": "[Tunnel]\nRemote=10.0.0.99\n"},
    ),
    "networkd, another metric": by_networkd(
        "has gretap1 metric 600; now: 0",
        changed(BY_NETWORKD, f"Destination={GROUPS}", f"Destination={GROUPS}\nMetric=600"),
    ),
    "networkd, an MTU by the .network file": by_networkd(
        "has gretap1 mtu 1400; now",
        {**BY_NETWORKD, OF_TUNNEL: BY_NETWORKD[OF_TUNNEL].replace("[Network]", "[Link]\nMTUBytes=1400\n\n[Network]")},
    ),
    "netplan, another MTU": by_netplan("has gretap1 mtu 1400; now", TEXT.replace("mtu: 8962", "mtu: 1400")),
    "netplan, another mode": by_netplan("has gretap1 kind gre; now", TEXT.replace("mode: gretap", "mode: gre")),
    "NetworkManager, another mode": by_network_manager(
        "has gretap1 kind gre; now: gretap", changed(BY_NETWORK_MANAGER, "mode=10", "mode=2")
    ),
    "NetworkManager, another TTL": by_network_manager(
        "has gretap1 ttl 1; now: 64", changed(BY_NETWORK_MANAGER, "ttl=64", "ttl=1")
    ),
    "ifupdown, another MTU": by_ifupdown("has gretap1 mtu 1400; now", STANZA.replace("mtu 8962", "mtu 1400")),
    "a script, another kind": script("has gretap1 kind dummy; now: gretap", LINES.replace("type gretap", "type dummy")),
    "a script, another TTL": script("has gretap1 ttl inherit; now: 64", LINES.replace("ttl 64", "ttl inherit")),
    "a script, without a TTL": script("has gretap1 ttl inherit; now: 64", LINES.replace("ttl 64 ", "")),
    "a script, another MTU by a later command": script(
        "has gretap1 mtu 1400; now", f"{LINES}\nip link set dev gretap1 mtu 1400"
    ),
    "a script, a key": script("has gretap1 key 7; now", LINES.replace("ttl 64", "ttl 64 key 7")),
    "a script, the remote changed afterwards": script(
        "has gretap1 remote 10.0.0.99; now", f"{LINES}\nip link change gretap1 type gretap remote 10.0.0.99"
    ),
    "a script, another metric": script(
        "has gretap1 metric 50; now: 0", LINES.replace(f"{GROUPS} dev gretap1", f"{GROUPS} dev gretap1 metric 50")
    ),
    "a script, two other ends in one list": script(
        "has gretap1 remote 10.0.0.98",
        LINES.replace("remote 10.0.0.197", "remote 10.0.0.98") + "\nip route add 10.0.0.197 dev ens3",
    ),
}
