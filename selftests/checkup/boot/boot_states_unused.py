"""Files that look complete, and that a boot uses in part or not at all: by other files, by names, by settings."""

from __future__ import annotations

from collections.abc import Mapping

from lab.agent.boot import ifupdown as agent_ifupdown
from lab.boot.formats import ifupdown, netplan, shell
from selftests.checkup.boot.boot_states import (
    BY_HAND,
    BY_IFUPDOWN,
    BY_NETWORK_MANAGER,
    BY_NETWORKD,
    BY_SHELL,
    CRON,
    IFUP,
    ON,
    SCRIPT,
    State,
    changed,
)
from selftests.checkup.boot.boot_states_unmatched import (
    BY_NETPLAN,
    GROUPS,
    OF_TUNNEL,
    by_ifupdown,
    by_netplan,
    by_network_manager,
    by_networkd,
)

UNITS = "/etc/systemd/system"
NO_ROUTE = f"the multicast route {GROUPS}"
MANAGED = "/usr/lib/NetworkManager/conf.d"


def by_unit(found: str, files: Mapping[str, str], *units: str, ok: bool = False, done: str = "true") -> State:
    return State({**BY_SHELL, **files}, "ok" if ok else "warning", found, "", units or ("overlay.service",), done)


def by_cron(found: str, path: str, *, ok: bool = False, done: str = "true") -> State:
    return State({path: f"@reboot root {BY_HAND}\n"}, "ok" if ok else "warning", found, "", (CRON,), done)


def in_tunnel(old: str, new: str) -> dict[str, str]:
    return {**BY_NETWORKD, OF_TUNNEL: BY_NETWORKD[OF_TUNNEL].replace(old, new)}


def connection(more: str) -> dict[str, str]:
    return changed(BY_NETWORK_MANAGER, "[ipv4]\n", f"[ipv4]\n{more}\n")


STATES = {
    # systemd-networkd
    "networkd, a link that it leaves alone": by_networkd(
        "it has Unmanaged=yes", in_tunnel("[Match]\nName=gretap1\n", "[Match]\nName=gretap1\n[Link]\nUnmanaged=yes\n")
    ),
    "networkd, a link that is set up by hand": by_networkd(
        "it has ActivationPolicy=manual",
        in_tunnel("[Match]\nName=gretap1\n", "[Match]\nName=gretap1\n[Link]\nActivationPolicy=manual\n"),
    ),
    "networkd, the route in another table": by_networkd(
        NO_ROUTE, in_tunnel(f"Destination={GROUPS}", f"Destination={GROUPS}\nTable=9")
    ),
    "networkd, a route that drops": by_networkd(
        NO_ROUTE, in_tunnel(f"Destination={GROUPS}", f"Destination={GROUPS}\nType=blackhole")
    ),
    "networkd, a route of the main table": by_networkd(
        "are named in", in_tunnel(f"Destination={GROUPS}", f"Destination={GROUPS}\nTable=main\nType=unicast"), ok=True
    ),
    "networkd, a route in another section": by_networkd(NO_ROUTE, in_tunnel("[Route]", "[Network]")),
    "networkd, a condition in a drop-in of its unit": by_networkd(
        "ConditionPathExists=/nowhere does not hold",
        {**BY_NETWORKD, f"{UNITS}/{ON}.d/10.conf": "[Unit]\nConditionPathExists=/nowhere\n"},
    ),
    # units
    "a unit whose drop-in starts something else": by_unit(
        "a drop-in of overlay.service takes its commands back",
        {f"{shell.UNIT}.d/10.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/true\n"},
    ),
    "a unit whose drop-in adds a command": by_unit(
        "are named in", {f"{shell.UNIT}.d/10.conf": "[Service]\nExecStart=/usr/bin/true\n"}, ok=True
    ),
    "a unit that runs if a volatile file is there": by_unit(
        "cannot be determined",
        changed(BY_SHELL, "[Unit]\n", "[Unit]\nConditionPathExists=/run/x\n"),
        done="touch /run/x",
    ),
    "a unit that another unit wants, which no boot starts": by_unit(
        "overlay.service is not enabled",
        {},
        "x.service",
        done=f"mkdir {UNITS}/web.service.wants; ln -s ../overlay.service {UNITS}/web.service.wants",
    ),
    "a unit that another unit wants, which a boot starts": by_unit(
        "are named in",
        {f"{UNITS}/web.service": "[Service]\nExecStart=/usr/bin/true\n"},
        "web.service",
        ok=True,
        done=f"mkdir {UNITS}/web.service.wants; ln -s ../overlay.service {UNITS}/web.service.wants",
    ),
    "a unit of a target of its own": by_unit(
        "overlay.service is not enabled",
        {},
        "x.service",
        done=f"mkdir {UNITS}/vpn.target.wants; ln -s ../overlay.service {UNITS}/vpn.target.wants",
    ),
    "a unit of the graphical target, where a boot has none": by_unit(
        "overlay.service is not enabled",
        {},
        "x.service",
        done=f"cd {UNITS}; ln -s /lib/systemd/system/multi-user.target default.target; mkdir graphical.target.wants; "
        "ln -s ../overlay.service graphical.target.wants",
    ),
    "a unit from a template": State(
        {f"{UNITS}/tunnel@.service": f"[Service]\nExecStart=/bin/sh -c '{BY_HAND.replace('gretap1', '%i')}'\n"},
        "ok",
        f"are named in {UNITS}/tunnel@.service",
        "",
        (),
        f"ln -s ../tunnel@.service {UNITS}/multi-user.target.wants/tunnel@gretap1.service",
    ),
    "a unit from a template, for another device": State(
        {f"{UNITS}/tunnel@.service": f"[Service]\nExecStart=/bin/sh -c '{BY_HAND.replace('gretap1', '%i')}'\n"},
        "warning",
        "",
        "",
        (),
        f"ln -s ../tunnel@.service {UNITS}/multi-user.target.wants/tunnel@gretap7.service",
    ),
    "a unit whose script has no interpreter": by_unit(
        "does not begin with #!",
        {shell.SCRIPT: SCRIPT.replace("#!/bin/sh\n", "")},
        done=f"chmod +x {shell.SCRIPT}",
    ),
    "rc.local without an interpreter": State(
        {"/etc/rc.local": BY_HAND}, "warning", "does not begin with #!", "sudo sed -i", (), "chmod +x /etc/rc.local"
    ),
    # names and modes of files
    "cron, a name with a dot": by_cron("cron leaves out names with a dot", "/etc/cron.d/overlay.cron"),
    "cron, a file that others may write": by_cron(
        "cron refuses a file that others may write", "/etc/cron.d/overlay", done="chmod 666 /etc/cron.d/overlay"
    ),
    "ifupdown, a script with a dot in its name": State(
        {
            agent_ifupdown.INTERFACES: "auto lo\niface lo inet loopback\n",
            "/etc/network/if-up.d/overlay.sh": f"#!/bin/sh\n{BY_HAND}\n",
        },
        "warning",
        "ifup leaves out names with a dot",
        "sudo mv",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, a pattern that leaves it out": State(
        {agent_ifupdown.INTERFACES: "source /etc/network/interfaces.d/*.cfg\n", **BY_IFUPDOWN},
        "warning",
        "has no `source /etc/network/interfaces.d/*`",
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, auto in a file that is not read": State(
        {
            agent_ifupdown.INTERFACES: f"source {ifupdown.FILE}\n",
            **changed(BY_IFUPDOWN, "auto gretap1", ""),
            "/etc/network/interfaces.d/auto": "auto gretap1\n",
        },
        "warning",
        "it has no `auto gretap1`",
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, the file by its own name": State(
        {agent_ifupdown.INTERFACES: f"source {ifupdown.FILE}\n", **BY_IFUPDOWN},
        "ok",
        "are named in",
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    "NetworkManager, a file of an editor": by_network_manager(
        "NetworkManager leaves out its name", {f"{path}~": text for path, text in BY_NETWORK_MANAGER.items()}
    ),
    "network-scripts, a copy": by_ifupdown(
        "network-scripts leave out its name",
        "",
        ("/etc/sysconfig/network-scripts/ifcfg-gretap1.bak", f"DEVICE=gretap1\n{GROUPS}\n"),
    ),
    # netplan
    "netplan, another file that it rejects": State(
        {**BY_NETPLAN, "/etc/netplan/10-nic.yaml": "network: {ethernets: {ens3: {adresses: [10.0.0.25/24]}}}\n"},
        "warning",
        "netplan rejects /etc/netplan/10-nic.yaml",
        "sudo netplan",
        needs=("/usr/sbin/netplan",),
    ),
    "netplan, for a NetworkManager that is not enabled": by_netplan(
        "NetworkManager.service is not enabled",
        BY_NETPLAN[netplan.FILE].replace("version: 2", "version: 2\n  renderer: NetworkManager"),
    ),
    # NetworkManager
    "NetworkManager, without IPv4": by_network_manager(
        NO_ROUTE, changed(BY_NETWORK_MANAGER, "method=manual", "method=disabled")
    ),
    "NetworkManager, the route in another table": by_network_manager(NO_ROUTE, connection("route-table=9")),
    "NetworkManager, all unmanaged by the distribution": State(
        BY_NETWORK_MANAGER,
        "warning",
        "in unmanaged-devices",
        "",
        ("NetworkManager.service",),
        f"chmod 600 /etc/NetworkManager/system-connections/*; mount -t tmpfs own {MANAGED}; "
        f"printf '[keyfile]\\nunmanaged-devices=*,except:type:wifi\\n' >{MANAGED}/10-globally-managed-devices.conf",
        needs=("/usr/sbin/NetworkManager", MANAGED),
    ),
    "NetworkManager, the distribution's file replaced": State(
        {**BY_NETWORK_MANAGER, "/etc/NetworkManager/conf.d/10-globally-managed-devices.conf": "\n"},
        "ok",
        "are named in",
        "",
        ("NetworkManager.service",),
        f"chmod 600 /etc/NetworkManager/system-connections/*; mount -t tmpfs own {MANAGED}; "
        f"printf '[keyfile]\\nunmanaged-devices=*\\n' >{MANAGED}/10-globally-managed-devices.conf",
        needs=("/usr/sbin/NetworkManager", MANAGED),
    ),
    "NetworkManager, a later file manages it": by_network_manager(
        "are named in",
        {
            **BY_NETWORK_MANAGER,
            "/etc/NetworkManager/conf.d/1.conf": "[keyfile]\nunmanaged-devices=interface-name:gre*\n",
            "/etc/NetworkManager/conf.d/2.conf": "[keyfile]\nunmanaged-devices=interface-name:ens3\n",
        },
        ok=True,
    ),
    "NetworkManager, a section for devices": by_network_manager(
        "has managed=0 for gretap1",
        {
            **BY_NETWORK_MANAGER,
            "/etc/NetworkManager/conf.d/1.conf": "[device-x]\nmatch-device=interface-name:gre*\nmanaged=0\n",
        },
    ),
    # cloud-init
    "cloud-init, turned off": State(
        {
            "/var/lib/cloud/scripts/per-boot/overlay": f"#!/bin/sh\n{BY_HAND}\n",
            "/etc/cloud/cloud-init.disabled": "",
        },
        "warning",
        "cloud-init",
        "",
        ("cloud-final.service",),
    ),
}
