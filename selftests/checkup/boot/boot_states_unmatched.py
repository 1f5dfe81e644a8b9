"""
Files that are for another device, or another machine, than the host's: no boot of this one makes an overlay by them.

The host has a NIC `ens3` with one MAC address (`boot_host`), no udev, and no other device at boot.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.boot.formats import ifupdown, netplan, networkd, networkmanager, shell
from selftests.checkup.boot.boot_host import MAC
from selftests.checkup.boot.boot_states import (
    BY_HAND,
    BY_IFUPDOWN,
    BY_NETWORK_MANAGER,
    BY_NETWORKD,
    BY_SHELL,
    IFUP,
    NETWORK_MANAGER,
    NETWORKD,
    NODE,
    ON,
    PLAN,
    SCRIPT,
    SOURCED,
    State,
    changed,
)

OTHER = "02:00:17:00:00:99"
NETPLAN = ("/usr/sbin/netplan", *NETWORKD)
BY_NETPLAN = netplan.files(PLAN, NODE)
UNIT = networkd.FOLDER
OF_TUNNEL = f"{UNIT}/50-gretap1.network"
GROUPS = "224.0.0.0/4"
NO_MAKER = "gretap1, which this host does not have at boot, and no file makes it"
READABLE = f"chmod 600 {networkmanager.FOLDER}/*"
ROUTE = f"[Network]\nDHCP=yes\n[Route]\nDestination={GROUPS}\nScope=link\n"


def by_networkd(found: str, files: Mapping[str, str], *, fix: str = "", ok: bool = False) -> State:
    return State(files, "ok" if ok else "warning", found, fix, (ON,), needs=NETWORKD)


def by_nic(match: str) -> dict[str, str]:
    """The tunnel is made for a NIC, whose file has this [Match]."""
    nic = f"[Match]\n{match}\n[Network]\nDHCP=yes\nTunnel=gretap1\n"
    return {**changed(BY_NETWORKD, "Independent=yes\n", ""), f"{UNIT}/10-nic.network": nic}


def matching(match: str, path: str = OF_TUNNEL) -> dict[str, str]:
    """The tunnel's file has this in its [Match]."""
    text = BY_NETWORKD[path].replace("[Match]\n", f"[Match]\n{match}\n")
    return {**BY_NETWORKD, path: text if "[Match]" in text else f"[Match]\n{match}\n{text}"}


def by_script(text: str, *others: tuple[str, str]) -> dict[str, str]:
    return {"/etc/rc.local": f"#!/bin/sh\n{text}\n", **dict(others)}


def by_connection(old: str, new: str) -> dict[str, str]:
    return changed(BY_NETWORK_MANAGER, old, new)


def by_network_manager(found: str, files: Mapping[str, str], *, fix: str = "", ok: bool = False) -> State:
    unit = ("NetworkManager.service",)
    return State(files, "ok" if ok else "warning", found, fix, unit, READABLE, needs=NETWORK_MANAGER)


def by_netplan(found: str, text: str, *, ok: bool = False) -> State:
    return State({netplan.FILE: text}, "ok" if ok else "warning", found, "", (), needs=NETPLAN)


def by_ifupdown(found: str, text: str, *others: tuple[str, str], fix: str = "", ok: bool = False) -> State:
    files = {**SOURCED, ifupdown.FILE: text, **dict(others)}
    return State(files, "ok" if ok else "warning", found, fix, ("networking.service",), needs=IFUP)


def by_unit(found: str, condition: str, *, ok: bool = False) -> State:
    files = changed(BY_SHELL, "[Unit]\n", f"[Unit]\n{condition}\n")
    return State(files, "ok" if ok else "warning", found, "", ("overlay.service",))


def by_network_scripts(found: str, files: Mapping[str, str], unit: str = "network", *, ok: bool = False) -> State:
    return State(files, "ok" if ok else "warning", found, "", (f"{unit}.service",), needs=NETWORK_MANAGER)


def ifcfg(more: str = "", name: str = "gretap1") -> dict[str, str]:
    folder, addressed = "/etc/sysconfig/network-scripts", f"IPADDR={NODE.overlay.ip}\nPREFIX=24\n"
    return {
        f"{folder}/ifcfg-{name}": f"DEVICE={name}\nONBOOT=yes\nBOOTPROTO=none\n{addressed}{more}",
        f"{folder}/route-{name}": f"{GROUPS} dev {name}\n",
    }


LINK = "/etc/systemd/network/10-wan.link"
RENAMED = (LINK, f"[Match]\nMACAddress={MAC}\n[Link]\nName=wan0\n")
OVER_NIC = BY_HAND.replace("type gretap", "type gretap dev ens3")
ADDING = next(line.strip() for line in SCRIPT.splitlines() if "link add gretap1" in line)
STANZA = BY_IFUPDOWN[ifupdown.FILE]
OF_NIC = "\n".join(f"    up {line.strip()}" for line in SCRIPT.splitlines() if line.startswith("    ip "))
CONFIGURED = {"ethernets": {"gretap1": {"addresses": [str(NODE.overlay)], "routes": [{"to": GROUPS, "scope": "link"}]}}}

STATES = {
    # systemd-networkd
    **{
        f"networkd, a NIC with {match}": by_networkd("no .network file of a NIC of this host has Tunnel", by_nic(match))
        for match in (
            "Name=eth0",
            f"MACAddress={OTHER}",
            f"PermanentMACAddress={OTHER}",
            "Driver=mlx5_core",
            "Path=pci-0000:00:03.0",
            "Type=wlan",
            "Kind=vlan",
            "SSID=office",
            "Name=ens3\nHost=other",
        )
    },
    "networkd, a NIC by a property that udev does not have": by_networkd(
        "whether a device has Property=ID_BUS=usb at boot cannot be determined", by_nic("Property=ID_BUS=usb")
    ),
    **{
        f"networkd, this NIC with {match}": by_networkd("are named in", by_nic(match), ok=True)
        for match in (f"MACAddress={OTHER} {MAC.upper()}", "Driver=veth", "Name=eth* ens*", "Type=ether\nKind=veth")
    },
    **{
        f"networkd, another machine: {match}": by_networkd(
            f"50-gretap1.network: its [Match]: {match} does not hold on this host", matching(match)
        )
        for match in (
            "Host=other",
            "Virtualization=powervm",
            "KernelCommandLine=overlay.on",
            "KernelVersion=<2.6",
            "Architecture=sparc",
            "Credential=overlay",
        )
    },
    "networkd, this machine": by_networkd(
        "are named in", matching("Host=!other\nKernelVersion=>=3\nArchitecture=!sparc"), ok=True
    ),
    "networkd, a device of another machine": by_networkd(
        "50-gretap1.netdev: its [Match]: Host=other", matching("Host=other", f"{UNIT}/50-gretap1.netdev")
    ),
    "networkd, no .netdev file": by_networkd(NO_MAKER, {OF_TUNNEL: BY_NETWORKD[OF_TUNNEL]}, fix=shell.UNIT),
    "networkd, the route on the NIC": by_networkd(
        "10-nic.network: it configures ens3, which is not a device of the overlay",
        {**changed(BY_NETWORKD, GROUPS, "192.0.2.0/24"), f"{UNIT}/10-nic.network": f"[Match]\nName=ens3\n{ROUTE}"},
    ),
    "networkd, an address that the NIC's gateway has": by_networkd(
        f"lacks the other end of a tunnel {PLAN.hub.endpoint}",
        {
            **changed(BY_NETWORKD, PLAN.hub.endpoint, "10.0.0.99"),
            f"{UNIT}/10-nic.network": f"[Match]\nName=ens3\n[Network]\nGateway={PLAN.hub.endpoint}\n",
        },
    ),
    "networkd, a drop-in without its file": by_networkd(
        "there is no 50-gretap.network, which it adds to",
        {
            **changed(BY_NETWORKD, GROUPS, "192.0.2.0/24"),
            f"{UNIT}/50-gretap.network.d/multicast.conf": f"[Route]\nDestination={GROUPS}\nScope=link\n",
        },
    ),
    "networkd, a drop-in": by_networkd(
        "are named in",
        {
            **changed(BY_NETWORKD, GROUPS, "192.0.2.0/24"),
            f"{OF_TUNNEL}.d/multicast.conf": f"[Route]\nDestination={GROUPS}\nScope=link\n",
        },
        ok=True,
    ),
    "networkd, a drop-in that is for another machine": by_networkd(
        "its [Match]: Host=other", {**BY_NETWORKD, f"{OF_TUNNEL}.d/host.conf": "[Match]\nHost=other\n"}
    ),
    "networkd, a first file by its kind": by_networkd(
        "10-gre.network matches the same device and comes first",
        {**BY_NETWORKD, f"{UNIT}/10-gre.network": "[Match]\nKind=gretap\n[Network]\nDHCP=yes\n"},
    ),
    "networkd, by a pattern": by_networkd(
        "are named in", changed(BY_NETWORKD, "[Match]\nName=gretap1", "[Match]\nName=gre*"), ok=True
    ),
    "networkd, a NIC by its next name": by_networkd("are named in", {**by_nic("Name=wan0"), LINK: RENAMED[1]}, ok=True),
    "networkd, a NIC by its name of now": by_networkd(
        "no .network file of a NIC of this host has Tunnel", {**by_nic("Name=ens3"), LINK: RENAMED[1]}
    ),
    # a NIC's next name
    "a script over this NIC": State(by_script(OVER_NIC), "ok", "named in /etc/rc.local"),
    "a script over a NIC that a .link file renames": State(
        by_script(OVER_NIC, RENAMED),
        "warning",
        f"it uses ens3, which {LINK} renames to wan0 at boot",
        f"grep -n Name {LINK}",
    ),
    "a script over a NIC, and a .link file of another": State(
        by_script(OVER_NIC, (LINK, RENAMED[1].replace(MAC, OTHER))), "ok", "named in /etc/rc.local"
    ),
    "a script over a NIC that a rule of udev renames": State(
        by_script(
            OVER_NIC,
            (
                "/etc/udev/rules.d/70-persistent-net.rules",
                f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="{MAC}", NAME="lan0"\n',
            ),
        ),
        "warning",
        "70-persistent-net.rules renames to lan0 at boot",
        "grep -n",
    ),
    # scripts
    "a script over a NIC of another name": State(
        by_script(OVER_NIC.replace("ens3", "eth0")), "warning", "it uses eth0, which this host does not have at boot"
    ),
    "a script that makes no device": State(
        by_script(BY_HAND.replace(ADDING, "true")), "warning", f"it uses {NO_MAKER}", shell.UNIT
    ),
    "a script with the name in a variable": State(
        by_script(f"TUNNEL=gretap1\n{BY_HAND.replace('add gretap1', 'add $TUNNEL')}"), "ok", "named in /etc/rc.local"
    ),
    # units
    "a unit of another host": by_unit("ConditionHost=other does not hold", "ConditionHost=other"),
    "a unit for virtual machines of another kind": by_unit("does not hold", "ConditionVirtualization=powervm"),
    "a unit that asserts a file": by_unit("AssertPathExists=/nowhere does not hold", "AssertPathExists=/nowhere"),
    "a unit that a parameter of the kernel turns on": by_unit("does not hold", "ConditionKernelCommandLine=overlay.on"),
    "a unit that runs once for each boot": by_unit("named in", "ConditionPathExists=!/run/overlay.done", ok=True),
    "a unit with one of two conditions": by_unit("named in", "ConditionHost=|other\nConditionHost=|!other", ok=True),
    "a unit of a NIC that is not there": by_unit(
        "it uses eth0, which this host does not have", "BindsTo=sys-subsystem-net-devices-eth0.device"
    ),
    "a unit of this NIC": by_unit("named in", "BindsTo=sys-subsystem-net-devices-ens3.device", ok=True),
    # ifupdown
    "ifupdown, commands of another NIC": by_ifupdown(
        "it uses eth0, which this host does not have at boot", f"auto eth0\niface eth0 inet manual\n{OF_NIC}\n"
    ),
    "ifupdown, commands of this NIC": by_ifupdown(
        "are named in", f"auto ens3\niface ens3 inet manual\n{OF_NIC}\n", ok=True
    ),
    "ifupdown, this NIC plugged in": by_ifupdown(
        "are named in", f"allow-hotplug ens3\niface ens3 inet manual\n{OF_NIC}\n", ok=True
    ),
    "ifupdown, another NIC plugged in": by_ifupdown(
        "it has no `auto eth0`", f"allow-hotplug eth0\niface eth0 inet manual\n{OF_NIC}\n"
    ),
    "ifupdown, a pattern of devices that there are": by_ifupdown(
        "are named in", f"auto /ens*\niface ens3 inet manual\n{OF_NIC}\n", ok=True
    ),
    "ifupdown, a pattern of devices that are made": by_ifupdown(
        "it has no `auto gretap1`", STANZA.replace("auto gretap1", "auto /gretap*")
    ),
    "ifupdown, auto in another file": by_ifupdown(
        "are named in", STANZA.replace("auto gretap1", ""), (f"{ifupdown.FILE}-auto", "auto gretap1\n"), ok=True
    ),
    "ifupdown, a mapping": by_ifupdown(
        "a `mapping` has a script choose the stanza of gretap1: cannot be determined",
        f"mapping gretap1\n    script /usr/local/sbin/where\n{STANZA}",
    ),
    "ifupdown, a stanza that makes no device": by_ifupdown(
        NO_MAKER, "\n".join(line for line in STANZA.splitlines() if "link add" not in line)
    ),
    "ifupdown, a stanza for a device that a script makes": State(
        {
            **SOURCED,
            ifupdown.FILE: "\n".join(line for line in STANZA.splitlines() if "link add" not in line),
            **by_script(ADDING),
        },
        "ok",
        "are named in",
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    # netplan
    "netplan": by_netplan("are named in /etc/netplan", BY_NETPLAN[netplan.FILE], ok=True),
    "netplan, a device that it does not make": by_netplan(NO_MAKER, f"network: {CONFIGURED}\n"),
    "netplan, a route of another NIC": by_netplan(
        f"no device of this host has macaddress: {OTHER}",
        f"{BY_NETPLAN[netplan.FILE].replace(GROUPS, '192.0.2.0/24')}  ethernets:\n    nic:\n"
        f"      match: {{macaddress: '{OTHER}'}}\n      routes: [{{to: {GROUPS}, scope: link}}]\n",
    ),
    "netplan, a route of this NIC": by_netplan(
        "it configures ens3, which is not a device of the overlay",
        f"{BY_NETPLAN[netplan.FILE].replace(GROUPS, '192.0.2.0/24')}  ethernets:\n    nic:\n"
        f"      match: {{macaddress: '{MAC}'}}\n      routes: [{{to: {GROUPS}, scope: link}}]\n",
    ),
    "netplan, another driver": by_netplan(
        "no device of this host has name: gretap*, driver: mlx5_core",
        "network:\n  ethernets:\n    gretap1:\n      match: {name: 'gretap*', driver: mlx5_core}\n"
        f"      addresses: [{NODE.overlay}]\n      routes: [{{to: {GROUPS}, scope: link}}]\n",
    ),
    "netplan, on request": by_netplan(
        "gretap1 has activation-mode: manual",
        BY_NETPLAN[netplan.FILE].replace("      mode: gretap", "      activation-mode: manual\n      mode: gretap"),
    ),
    "netplan, no YAML": by_netplan("cannot be determined", f"{BY_NETPLAN[netplan.FILE]}  - {{\n"),
    # NetworkManager
    "NetworkManager, for a user's session": by_network_manager(
        "it has permissions=user:opc:", by_connection("[connection]\n", "[connection]\npermissions=user:opc:\n")
    ),
    "NetworkManager, without a device": by_network_manager(
        "it has no interface-name", by_connection("interface-name=gretap1\n", "")
    ),
    "NetworkManager, over a NIC that is not there": by_network_manager(
        "it uses eth0, which this host does not have at boot",
        by_connection("[ip-tunnel]\n", "[ip-tunnel]\nparent=eth0\n"),
    ),
    "NetworkManager, over this NIC": by_network_manager(
        "are named in", by_connection("[ip-tunnel]\n", "[ip-tunnel]\nparent=ens3\n"), ok=True
    ),
    "NetworkManager, a device that it does not make": by_network_manager(
        NO_MAKER, by_connection("type=ip-tunnel", "type=ethernet")
    ),
    **{
        f"NetworkManager, {match[:-1]}": by_network_manager(
            "no device of this host has ", by_connection("type=ip-tunnel\n", f"type=ethernet\n{match}")
        )
        for match in (
            f"[ethernet]\nmac-address={OTHER}\n",
            "[match]\ndriver=mlx5_core;\n",
            "[match]\npath=pci-0000:00:03.0;\n",
            "[match]\ninterface-name=eth*;\n",
            "[match]\nkernel-command-line=overlay.on;\n",
        )
    },
    "NetworkManager, all unmanaged": by_network_manager(
        "has * in unmanaged-devices",
        {
            **BY_NETWORK_MANAGER,
            "/etc/NetworkManager/conf.d/1.conf": "[keyfile]\nunmanaged-devices=*,except:interface-name:ens3\n",
        },
        fix="s/$/;except:interface-name:gretap1/",
    ),
    "NetworkManager, all unmanaged but these": by_network_manager(
        "are named in",
        {
            **BY_NETWORK_MANAGER,
            "/etc/NetworkManager/conf.d/1.conf": "[keyfile]\nunmanaged-devices=*,except:interface-name:gre*\n",
        },
        ok=True,
    ),
    # network-scripts
    "network-scripts": by_network_scripts(NO_MAKER, ifcfg()),
    "network-scripts, a device that a script makes": by_network_scripts(
        f"lacks the other end of a tunnel {PLAN.hub.endpoint}",
        {**ifcfg(), **by_script("ip link add gretap1 type gretap")},
    ),
    "network-scripts, a device that a script makes, to the hub": by_network_scripts(
        "are named in", {**ifcfg(), **by_script(ADDING)}, ok=True
    ),
    "network-scripts, another MAC address": by_network_scripts(
        f"no device of this host has HWADDR={OTHER}", {**ifcfg(f"HWADDR={OTHER}\n"), **by_script(ADDING)}
    ),
    "network-scripts, not at boot": by_network_scripts("it has ONBOOT=no", ifcfg("ONBOOT=no\n")),
    "network-scripts, without NetworkManager": by_network_scripts(
        "it has NM_CONTROLLED=no, and network.service is not enabled", ifcfg("NM_CONTROLLED=no\n"), "NetworkManager"
    ),
    "network-scripts, without their plugin": by_network_scripts("no plugin that reads it", ifcfg(), "NetworkManager"),
    "network-scripts, a route without its device": by_network_scripts(
        "there is no /etc/sysconfig/network-scripts/ifcfg-gretap1",
        {path: text for path, text in ifcfg().items() if "route" in path},
    ),
}
