"""Further states of the files of each tool, each with the answer that its documentation gives."""

from __future__ import annotations

from lab.boot.formats import netplan, shell
from selftests.checkup.boot.boot_states import (
    BY_HAND,
    BY_NETWORK_MANAGER,
    BY_NETWORKD,
    BY_SHELL,
    CRON,
    GONE,
    LOCAL,
    MAKING,
    ON,
    State,
    changed,
)
from selftests.checkup.boot.boot_states_branches import LINES, NO_ROUTE, OWN, unit
from selftests.checkup.boot.boot_states_branches import UNIT as OWN_UNIT
from selftests.checkup.boot.boot_states_netplan import several
from selftests.checkup.boot.boot_states_scripts import LASTS, UNKNOWN, script
from selftests.checkup.boot.boot_states_sources import CONFIG, UNITS, lasting, warned
from selftests.checkup.boot.boot_states_unmatched import (
    GROUPS,
    OF_NIC,
    OF_TUNNEL,
    OTHER,
    STANZA,
    UNIT,
    by_ifupdown,
    by_network_manager,
    by_network_scripts,
    by_networkd,
    by_script,
    ifcfg,
)

CRON_JOB = {"/etc/cron.d/vpn": f"@reboot root {BY_HAND}\n"}
NETDEV = f"{UNIT}/50-gretap1.netdev"
STATES = {
    # systemd-networkd
    "networkd, a netdev that an empty file masks": by_networkd("gretap1", {**BY_NETWORKD, NETDEV: ""}),
    "networkd, a netdev linked to nothing": State(
        BY_NETWORKD,
        "warning",
        "gretap1",
        "",
        (ON,),
        f"ln -sf /dev/null {NETDEV}",
        needs=("/lib/systemd/systemd-networkd",),
    ),
    "networkd, a link that stays down": by_networkd(
        "ActivationPolicy=always-down",
        changed(BY_NETWORKD, "[Network]", "[Link]\nActivationPolicy=always-down\n\n[Network]"),
    ),
    "networkd, the address in another section": by_networkd(
        "lacks the overlay address", changed(BY_NETWORKD, "Address=172.16.254.2/24", "DNS=172.16.254.2")
    ),
    "networkd, the address as a peer": by_networkd(
        "lacks the overlay address", changed(BY_NETWORKD, "Address=172.16.254.2/24", "Gateway=172.16.254.2")
    ),
    "networkd, files of another ending": by_networkd(GONE, {f"{path}.bak": text for path, text in BY_NETWORKD.items()}),
    "networkd, files of the last boot": State(
        {},
        "warning",
        GONE,
        "",
        (ON,),
        "mkdir -p /run/systemd/network; "
        "printf '[NetDev]\\nName=gretap1\\nKind=gretap\\n' >/run/systemd/network/50-gretap1.netdev",
    ),
    "networkd, a drop-in that takes the address away": by_networkd(
        "lacks the overlay address", {**BY_NETWORKD, f"{OF_TUNNEL}.d/x.conf": "[Network]\nAddress=\n"}
    ),
    "networkd, a comment": by_networkd(
        "lacks the other end", changed(BY_NETWORKD, "Remote=10.0.0.197", "Remote=10.0.0.98\n#Remote=10.0.0.197")
    ),
    # netplan
    "netplan, a file of another ending": State(
        {f"{netplan.FILE}.disabled": "network: {}\n"}, "warning", GONE, "", (), needs=("/usr/sbin/netplan",)
    ),
    "netplan, renderer in the section": several(
        "NetworkManager.service is not enabled",
        {"/etc/netplan/99-x.yaml": "network:\n  tunnels:\n    renderer: NetworkManager\n"},
    ),
    # NetworkManager
    "NetworkManager, off by a number": by_network_manager(
        "autoconnect=0", changed(BY_NETWORK_MANAGER, "autoconnect=true", "autoconnect=0")
    ),
    "NetworkManager, an address of another family": by_network_manager(
        "lacks the overlay address", changed(BY_NETWORK_MANAGER, "address1=172.16.254.2/24", "address1=192.0.2.1/24")
    ),
    "NetworkManager, by DHCP": by_network_manager(
        "are named in", changed(BY_NETWORK_MANAGER, "method=manual", "method=auto"), ok=True
    ),
    "NetworkManager, a hidden file": State(
        {path.replace("overlay-", ".overlay-"): text for path, text in BY_NETWORK_MANAGER.items()},
        "warning",
        GONE,
        "",
        ("NetworkManager.service",),
    ),
    # ifupdown
    "ifupdown, no-auto-down": by_ifupdown("are named in", f"no-auto-down gretap1\n{STANZA}", ok=True),
    "ifupdown, a stanza of IPv6": by_ifupdown(
        "lacks the overlay address", STANZA.replace("inet static", "inet6 static")
    ),
    "ifupdown, an end in pre-up": by_ifupdown(GONE, f"auto ens3\niface ens3 inet manual\n    pre-up false\n{OF_NIC}\n"),
    "ifupdown, commands at the end": by_ifupdown(
        GONE, "auto ens3\niface ens3 inet manual\n" + "".join(f"    down {one}\n" for one in MAKING)
    ),
    # network-scripts
    "network-scripts, a comment": by_network_scripts(
        "gretap1", {**ifcfg(), **by_script("# ip link add gretap1 type gretap")}
    ),
    # scripts
    "a script, a comment at the end": script(LASTS, "\n".join(f"{one} # then" for one in MAKING)),
    "a script, a continued line": script(LASTS, LINES.replace(" type ", " \\\n    type ")),
    "a script, quotes in quotes": script(LASTS, f"sh -c \"sh -c '{BY_HAND}'\""),
    "a script, a check for root": script(LASTS, f'[ "$(id -u)" = 0 ] || true\n{LINES}'),
    "a script, an end by its user": script(UNKNOWN, f'[ "$(id -u)" = 0 ] || exit 1\n{LINES}'),
    "a script, a counter": script(LASTS, f"n=0\nwhile [ $n -lt 1 ]; do\n{LINES}\nn=$((n+1))\ndone"),
    "a script, a select of the kernel": script(UNKNOWN, f'case "$(uname -r)" in 6.*) {BY_HAND} ;; esac'),
    "a script, a case with a default": script(LASTS, f"case start in stop) exit 1 ;; *) {BY_HAND} ;; esac"),
    "a script, until it is there": script(UNKNOWN, f"until ip route | grep -q default; do sleep 1; done\n{LINES}"),
    "a script, a route that it removes with its table": script(NO_ROUTE, f"{LINES}\nip route flush dev gretap1"),
    "a script, an address that it removes": script("lacks the overlay address", f"{LINES}\nip addr flush dev gretap1"),
    "a script, moved to another network": script("gretap1", f"{LINES}\nip link set gretap1 netns vpn"),
    "a script, at a later time": script(UNKNOWN, f"echo '{BY_HAND}' | at now + 1 minute"),
    "a script, by systemd-run": script(UNKNOWN, f"systemd-run {OWN} gretap1 {GROUPS}"),
    "a script, by nohup": script(LASTS, "\n".join(f"nohup {one}" for one in MAKING)),
    "a script, with a lock": script(LASTS, f"flock /run/x -c '{BY_HAND}'"),
    "a script, with a limit": script(LASTS, "\n".join(f"timeout 5 {one}" for one in MAKING)),
    "a script, an unset variable": script(UNKNOWN, f"set -u\necho $MISSING\n{LINES}"),
    "a script, a subshell that ends": script(LASTS, f"( exit 1 )\n{LINES}"),
    "a script, a subshell that ends with errors": script(UNKNOWN, f"set -e\n( exit 1 )\n{LINES}"),
    "a script, in brackets": script(LASTS, f"(\n{LINES}\n)"),
    "a script, an array": script(UNKNOWN, f"A=(gretap1)\n{LINES.replace('gretap1', '${A[0]}')}"),
    "a script, arguments of its own": script(LASTS, f"set -- gretap1\n{LINES.replace('gretap1', '$1')}"),
    "a script, a shifted argument": script(LASTS, f"set -- x gretap1\nshift\n{LINES.replace('gretap1', '$1')}"),
    "a script, both branches": script(LASTS, f"if ping -c1 x; then echo up; else echo down; fi\n{LINES}"),
    # units
    "a unit, its script by a shell": unit("are named in", f"ExecStart=/bin/bash {OWN}", ok=True),
    "a unit, a script with a wrong name": unit(GONE, "ExecStart=/usr/local/sbin/vpn.sh"),
    "a unit, a condition of execution": unit(
        UNKNOWN, f"Type=oneshot\nExecCondition=/usr/bin/test -e /run/x\nExecStart={OWN}"
    ),
    "a unit, two lines that undo each other": State(
        {OWN_UNIT: f"[Service]\nType=oneshot\nExecStart={OWN}\nExecStart=/sbin/ip link del gretap1\n", OWN: LOCAL},
        "warning",
        GONE,
        "",
        ("own.service",),
    ),
    "a unit at a shutdown": State(
        BY_SHELL,
        "warning",
        "overlay.service is not enabled",
        "",
        (),
        "cd /etc/systemd/system; mkdir shutdown.target.wants; ln -s ../overlay.service shutdown.target.wants",
    ),
    # cron, cloud-init
    "cron, by run-parts": State({"/etc/cron.daily/vpn": LOCAL}, "warning", GONE, "", (CRON,)),
    "cron, with a delay": lasting(
        "named in /etc/cron.d/vpn", {"/etc/cron.d/vpn": f"@reboot root sleep 10; {BY_HAND}\n"}, CRON
    ),
    "cloud-init, a script of the first boot": warned(
        "cloud-init ran it at the first boot only",
        {"/var/lib/cloud/scripts/per-once/vpn": LOCAL},
        "cloud-final.service",
    ),
    "cloud-init, bootcmd that is over": warned(
        GONE, {CONFIG: "bootcmd:\n  - exit 0\n" + "".join(f"  - {one}\n" for one in MAKING)}, "cloud-init.service"
    ),
    # what refuses a file, or makes something else of it
    "networkd, a file that it may not read": warned(
        "networkd does not run as root and may not read it", BY_NETWORKD, ON, done=f"chmod 600 {UNIT}/*"
    ),
    "networkd, files of /usr/local": lasting(
        "named in /usr/local/lib/systemd/network/50-gretap1.netdev",
        {path.replace("/etc/", "/usr/local/lib/"): text for path, text in BY_NETWORKD.items()},
        ON,
    ),
    "networkd, a file of the same name": warned(
        "has the same name and comes first",
        {
            **{path.replace("/etc/", "/usr/local/lib/"): text for path, text in BY_NETWORKD.items()},
            f"{UNIT}/50-gretap1.netdev": "[NetDev]\nName=other\nKind=dummy\n",
        },
        ON,
    ),
    "networkd, a unit that starts something else": warned(
        f"{ON} does not start systemd-networkd",
        {**BY_NETWORKD, f"{UNITS}/{ON}": "[Service]\nExecStart=/usr/bin/true\n"},
        ON,
    ),
    "networkd, a drop-in with another command": warned(
        f"{ON} does not start systemd-networkd",
        {**BY_NETWORKD, f"{UNITS}/{ON}.d/10.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/true\n"},
        ON,
    ),
    "networkd, a device without a kind": warned(
        "ignores a .netdev file without Kind=", changed(BY_NETWORKD, "Kind=gretap\n", ""), ON
    ),
    "networkd, an empty match": warned(
        "ignores a file whose [Match] is empty", changed(BY_NETWORKD, "[Match]\nName=gretap1\n", "[Match]\n"), ON
    ),
    "cron, another shell": warned(
        UNKNOWN, {path: f"SHELL=/bin/false\n{text}" for path, text in CRON_JOB.items()}, CRON
    ),
    "rc.local, a unit that starts something else": warned(
        "rc-local.service does not start rc.local",
        {"/etc/rc.local": LOCAL, f"{UNITS}/rc-local.service": "[Service]\nExecStart=/usr/bin/true\n"},
    ),
    "a .link file that renames the tunnel": warned(
        UNKNOWN, {**BY_NETWORKD, f"{UNIT}/10-x.link": "[Match]\nOriginalName=gretap1\n[Link]\nName=x\n"}, ON
    ),
    "a .link file with another MTU": warned(
        UNKNOWN, {**BY_NETWORKD, f"{UNIT}/10-x.link": "[Match]\nKind=gretap\n[Link]\nMTUBytes=1300\n"}, ON
    ),
    "a .link file that keeps the name": lasting(
        "named in",
        {**BY_NETWORKD, f"{UNIT}/10-x.link": "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep\nName=x\n"},
        ON,
    ),
    "a .link file of a NIC": lasting(
        "named in", {**BY_NETWORKD, f"{UNIT}/10-x.link": f"[Match]\nMACAddress={OTHER}\n[Link]\nName=x\n"}, ON
    ),
    "a module that is not loaded": warned(
        UNKNOWN, {**BY_NETWORKD, "/etc/modprobe.d/x.conf": "install ip_gre /bin/false\n"}, ON
    ),
    "a module on the black list": warned(UNKNOWN, {**BY_NETWORKD, "/etc/modprobe.d/x.conf": "blacklist ip-gre\n"}, ON),
    "another module on the black list": lasting(
        "named in", {**BY_NETWORKD, "/etc/modprobe.d/x.conf": "blacklist gre\n"}, ON
    ),
    "NetworkManager, off": by_network_manager(
        "has NetworkingEnabled=false",
        {**BY_NETWORK_MANAGER, "/var/lib/NetworkManager/NetworkManager.state": "[main]\nNetworkingEnabled=false\n"},
    ),
    "NetworkManager, another folder": by_network_manager(
        "read /srv/own in its place",
        {**BY_NETWORK_MANAGER, "/etc/NetworkManager/conf.d/x.conf": "[keyfile]\npath=/srv/own\n"},
    ),
    "NetworkManager, no type": by_network_manager(
        "refuses a file without a type", changed(BY_NETWORK_MANAGER, "type=ip-tunnel\n", "")
    ),
    "NetworkManager, a port of a bridge that no file makes": by_network_manager(
        "it uses br9", changed(BY_NETWORK_MANAGER, "[connection]\n", "[connection]\nmaster=br9\nslave-type=bridge\n")
    ),
    "ifupdown, lines of Windows": by_ifupdown("carriage return", STANZA.replace("\n", "\r\n")),
    "ifupdown, not to be configured": by_ifupdown(
        "CONFIGURE_INTERFACES=no", STANZA, ("/etc/default/networking", "CONFIGURE_INTERFACES=no\n")
    ),
    "ifupdown, a device that is left out": by_ifupdown(
        "it has no `auto gretap1`", STANZA, ("/etc/default/networking", 'EXCLUDE_INTERFACES="eth9 gretap*"\n')
    ),
    "cron, a file of another user": warned(
        "cron refuses a file that others may write", CRON_JOB, CRON, done="chown 1000 /etc/cron.d/vpn"
    ),
    "cron, lines of Windows": warned(
        "carriage return", {path: text.replace("\n", "\r\n") for path, text in CRON_JOB.items()}, CRON
    ),
    "cron, a line without an end": warned(
        "whose last line has no end", {path: text.rstrip() for path, text in CRON_JOB.items()}, CRON
    ),
    "a boot that ends before": warned(
        "overlay.service is not enabled",
        BY_SHELL,
        "overlay.service",
        done=f"ln -s /lib/systemd/system/rescue.target {UNITS}/default.target",
    ),
    "a unit that another one wants": lasting(
        f"named in {shell.SCRIPT}",
        {**BY_SHELL, f"{UNITS}/own.service": "[Unit]\nWants=overlay.service\n[Service]\nExecStart=/usr/bin/true\n"},
        "own.service",
    ),
    "a unit that a disabled one wants": warned(
        "overlay.service is not enabled",
        {**BY_SHELL, f"{UNITS}/own.service": "[Unit]\nWants=overlay.service\n[Service]\nExecStart=/usr/bin/true\n"},
    ),
    **{
        f"a unit with {line}": warned(
            why,
            {**BY_SHELL, shell.UNIT: BY_SHELL[shell.UNIT].replace(section, f"{section}\n{line}")},
            "overlay.service",
        )
        for section, line, why in (
            ("[Unit]", "Requires=nowhere.service", "which this host does not have"),
            ("[Unit]", "Requisite=systemd-networkd.service", "which a boot does not start"),
            ("[Service]", "DynamicUser=yes", "who may not change interfaces"),
            ("[Service]", "CapabilityBoundingSet=CAP_SYS_TIME", "may not change interfaces"),
            ("[Service]", "CapabilityBoundingSet=~CAP_NET_ADMIN", "may not change interfaces"),
            ("[Service]", "RestrictAddressFamilies=AF_INET", "may not change interfaces"),
            ("[Service]", "RootDirectory=/srv", UNKNOWN),
        )
    },
    "a unit with the capability": lasting(
        "named in",
        {
            **BY_SHELL,
            shell.UNIT: BY_SHELL[shell.UNIT].replace("[Service]", "[Service]\nCapabilityBoundingSet=CAP_NET_ADMIN"),
        },
        "overlay.service",
    ),
}
