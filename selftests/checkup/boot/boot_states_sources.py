"""Further places from which a boot runs commands: cloud-init, udev, dispatchers, paths, sockets, units of /usr/lib."""

from __future__ import annotations

from collections.abc import Mapping

from lab.boot.formats import shell
from selftests.checkup.boot.boot_states import BY_HAND, BY_SHELL, GONE, LOCAL, MAKING, NETWORK_MANAGER, ON, State
from selftests.checkup.boot.boot_states_scripts import UNKNOWN

UNITS, VENDOR = "/etc/systemd/system", "/usr/local/lib/systemd/system"
CONFIG = "/etc/cloud/cloud.cfg.d/99-vpn.cfg"
BY_STRING = "".join(f"  - {one}\n" for one in MAKING)
BY_LIST = "".join("  - [{}]\n".format(", ".join(f'"{word}"' for word in one.split())) for one in MAKING)


def lasting(found: str, files: Mapping[str, str], *units: str, done: str = "true") -> State:
    return State(files, "ok", found, "", units, done)


def warned(found: str, files: Mapping[str, str], *units: str, fix: str = "", done: str = "true") -> State:
    return State(files, "warning", found, fix, units, done)


def dispatched(found: str, folder: str, text: str = LOCAL, *units: str, ok: bool = False) -> State:
    """A script of NetworkManager's dispatcher."""
    files = {f"{folder}/10-vpn": text}
    enabled = ("NetworkManager.service", "NetworkManager-dispatcher.service", *units)
    return State(files, "ok" if ok else "warning", found, "", enabled, needs=NETWORK_MANAGER)


MOVED = {f"{VENDOR}/overlay.service": BY_SHELL[shell.UNIT], shell.SCRIPT: BY_SHELL[shell.SCRIPT]}
STATES = {
    # cloud-init
    "cloud-init, bootcmd": lasting(f"named in {CONFIG}", {CONFIG: f"bootcmd:\n{BY_STRING}"}, "cloud-init.service"),
    "cloud-init, bootcmd by lists": lasting(
        f"named in {CONFIG}", {CONFIG: f"bootcmd:\n{BY_LIST}"}, "cloud-init.service"
    ),
    "cloud-init, bootcmd in a branch": warned(
        UNKNOWN, {CONFIG: f"bootcmd:\n  - ping -c1 x && {{ {BY_HAND}; }}\n"}, "cloud-init.service"
    ),
    "cloud-init, bootcmd, not enabled": warned(
        "cloud-init.service is not enabled", {CONFIG: f"bootcmd:\n{BY_STRING}"}, fix="systemctl enable"
    ),
    "cloud-init, runcmd": warned(
        "cloud-init ran it at the first boot only",
        {CONFIG: f"runcmd:\n{BY_STRING}"},
        "cloud-init.service",
        fix="bootcmd",
    ),
    "cloud-init, the script of runcmd": warned(
        "cloud-init ran it at the first boot only",
        {"/var/lib/cloud/instance/scripts/runcmd": LOCAL},
        "cloud-init.service",
        fix="/var/lib/cloud/scripts/per-boot",
    ),
    "cloud-init, no YAML": warned(UNKNOWN, {CONFIG: f"bootcmd: [\n{BY_STRING}"}, "cloud-init.service"),
    "cloud-init, a script that it wrote": lasting(
        f"named in {shell.SCRIPT}",
        {**BY_SHELL, CONFIG: f"write_files:\n  - path: {shell.SCRIPT}\n    content: x\n"},
        "overlay.service",
    ),
    # udev
    "udev, a rule that runs a script": warned(
        UNKNOWN,
        {
            "/etc/udev/rules.d/80-vpn.rules": 'ACTION=="add", KERNEL=="ens3", RUN+="/usr/local/sbin/vpn"\n',
            "/usr/local/sbin/vpn": LOCAL,
        },
    ),
    "udev, a rule that starts a unit": warned(
        "whether /etc/udev/rules.d/80-vpn.rules starts overlay.service at boot cannot be determined",
        {
            **BY_SHELL,
            "/etc/udev/rules.d/80-vpn.rules": 'KERNEL=="ens3", TAG+="systemd", ENV{SYSTEMD_WANTS}="overlay.service"\n',
        },
    ),
    # units
    "a unit of /usr/local/lib": lasting(f"named in {shell.SCRIPT}", MOVED, "overlay.service"),
    "a unit of /usr/local/lib, not enabled": warned("overlay.service is not enabled", MOVED),
    "a unit of /usr/local/lib, replaced": warned(
        GONE, {**MOVED, f"{UNITS}/overlay.service": "[Service]\nExecStart=/usr/bin/true\n"}, "overlay.service"
    ),
    "a unit of /usr/local/lib with a drop-in": lasting(
        "named in /usr/local/sbin/vpn",
        {
            f"{VENDOR}/web.service": "[Service]\nExecStart=/usr/bin/web\n",
            f"{UNITS}/web.service.d/10.conf": "[Service]\nExecStartPost=/usr/local/sbin/vpn\n",
            "/usr/local/sbin/vpn": LOCAL,
        },
        "web.service",
    ),
    "networkd's unit with a drop-in": lasting(
        "named in /usr/local/sbin/vpn",
        {f"{UNITS}/{ON}.d/10.conf": "[Service]\nExecStartPost=/usr/local/sbin/vpn\n", "/usr/local/sbin/vpn": LOCAL},
        ON,
    ),
    "a unit by a path": warned(
        "whether overlay.path starts overlay.service at boot cannot be determined",
        {**BY_SHELL, f"{UNITS}/overlay.path": "[Path]\nPathExists=/run/x\n"},
        "overlay.path",
    ),
    "a unit by a socket": warned(
        "whether overlay.socket starts overlay.service at boot cannot be determined",
        {**BY_SHELL, f"{UNITS}/overlay.socket": "[Socket]\nListenStream=99\n"},
        "overlay.socket",
    ),
    "a unit by a path that is not enabled": warned(
        "overlay.service is not enabled", {**BY_SHELL, f"{UNITS}/overlay.path": "[Path]\nPathExists=/run/x\n"}
    ),
    "a unit by a timer of another name": lasting(
        f"named in {shell.SCRIPT}",
        {**BY_SHELL, f"{UNITS}/soon.timer": "[Timer]\nOnBootSec=5\nUnit=overlay.service\n"},
        "soon.timer",
    ),
    # dispatchers
    "NetworkManager's dispatcher": dispatched(
        "named in /etc/NetworkManager/dispatcher.d/10-vpn", "/etc/NetworkManager/dispatcher.d", ok=True
    ),
    "NetworkManager's dispatcher, before a device is up": dispatched(
        "named in /etc/NetworkManager/dispatcher.d/pre-up.d/10-vpn",
        "/etc/NetworkManager/dispatcher.d/pre-up.d",
        ok=True,
    ),
    "NetworkManager's dispatcher, at a device's event": dispatched(
        UNKNOWN,
        "/etc/NetworkManager/dispatcher.d",
        f'#!/bin/sh\n[ "$1" = ens3 ] && [ "$2" = up ] && {{ {BY_HAND}; }}\n',
    ),
    "networkd-dispatcher, not installed": warned(
        "networkd-dispatcher is not installed", {"/etc/networkd-dispatcher/routable.d/vpn": LOCAL}, ON
    ),
    "a link of SysV": lasting(
        "named in /etc/rc3.d/S20vpn",
        {"/etc/init.d/vpn": LOCAL},
        done="mkdir -p /etc/rc3.d; ln -s ../init.d/vpn /etc/rc3.d/S20vpn",
    ),
    "a link of SysV, for another argument": warned(
        GONE,
        {"/etc/init.d/vpn": f"#!/bin/sh\ncase $1 in up) {BY_HAND};; esac\n"},
        done="mkdir -p /etc/rc3.d; ln -s ../init.d/vpn /etc/rc3.d/S20vpn",
    ),
    "a hook of DHCP": warned(UNKNOWN, {"/etc/dhcp/dhclient-exit-hooks.d/vpn": LOCAL}),
}
