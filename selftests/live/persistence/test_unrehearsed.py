"""
What a rehearsal does not boot of a host: one note for each file that concerns the overlay.

    bootcmd, /etc/rc3.d, dispatchers, udev, ... ── pytest --hosts= --rehearse ──▶ `was not rehearsed`, and the reason
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from lab.boot import persistence, rehearsal
from lab.boot.formats import shell
from lab.boot.rehearsal import CopiedFiles
from selftests.checkup.boot.boot_states import BY_SHELL, LOCAL, NODE, PLAN
from selftests.checkup.boot.boot_states_sources import BY_STRING, CONFIG
from selftests.checkup.boot.test_persistence import named


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ({"path": "/etc/sysconfig/network-scripts/ifcfg-x", "tool": "network-scripts"}, "nmcli connection migrate"),
        ({"path": "/etc/NetworkManager/dispatcher.d/x", "tool": "NetworkManager"}, "dispatcher needs systemd"),
        (
            {"path": "/etc/crontab", "tool": "cron", "text": "@reboot opc x\n@reboot root y\n", "commands": ["y"]},
            "not run as root",
        ),
        ({"path": "/etc/crontab", "tool": "cron", "text": "@reboot root y\n", "commands": ["y"]}, ""),
        ({"path": "/etc/netplan/x.yaml", "tool": "netplan"}, ""),
        ({"path": "/etc/networkd-dispatcher/routable.d/x", "tool": "networkd-dispatcher"}, "needs systemd"),
        ({"path": "/etc/rc3.d/S20x", "tool": "init.d"}, "links of SysV are not started"),
        ({"path": "/etc/rc.local", "tool": "rc.local"}, ""),
        ({"path": "/etc/cloud/cloud.cfg.d/99-x.cfg", "tool": "cloud-init"}, "its bootcmd did not run"),
        ({"path": "/var/lib/cloud/scripts/per-boot/x", "tool": "cloud-init"}, ""),
    ],
    ids=[
        *(
            "network-scripts",
            "dispatcher",
            "another user",
            "root",
            "netplan",
            "networkd-dispatcher",
            "SysV",
            "rc.local",
        ),
        *("bootcmd", "per-boot"),
    ],
)
def test_what_is_not_rehearsed_is_listed(file: dict[str, Any], why: str) -> None:
    """Files of a boot that a lab does not use are named with the reason; the others are not."""
    notes = list(rehearsal.left_out("spoke1", CopiedFiles([{"text": "", "commands": [], **file}], [])))
    assert [file["path"] in note and why in note for note in notes] == [True] * bool(why)


IN_PATH = """
mkdir /run/own && ln -s true /run/own/networkd-dispatcher
mount -t overlay -o lowerdir=/run/own:/usr/bin own /usr/bin
"""
"""Has networkd-dispatcher installed."""
NOTED = {
    "bootcmd": ({CONFIG: f"bootcmd:\n{BY_STRING}"}, ["cloud-init.service"], "true", CONFIG),
    "bootcmd, a script": (
        {CONFIG: "bootcmd:\n  - /usr/local/sbin/vpn\n", "/usr/local/sbin/vpn": LOCAL},
        ["cloud-init.service"],
        "true",
        CONFIG,
    ),
    "bootcmd of something else": ({CONFIG: "bootcmd:\n  - date\n"}, ["cloud-init.service"], "true", ""),
    "bootcmd, not started": ({CONFIG: f"bootcmd:\n{BY_STRING}"}, [], "true", ""),
    "a link of SysV": (
        {"/etc/init.d/vpn": LOCAL},
        [],
        "mkdir -p /etc/rc3.d; ln -s ../init.d/vpn /etc/rc3.d/S20vpn",
        "/etc/rc3.d/S20vpn",
    ),
    "a link of SysV for something else": (
        {"/etc/init.d/vpn": "#!/bin/sh\nip link add other type dummy\n"},
        [],
        "mkdir -p /etc/rc3.d; ln -s ../init.d/vpn /etc/rc3.d/S20vpn",
        "",
    ),
    "networkd-dispatcher": (
        {"/etc/networkd-dispatcher/routable.d/vpn": LOCAL},
        ["networkd-dispatcher.service", "systemd-networkd.service"],
        IN_PATH,
        "/etc/networkd-dispatcher/routable.d/vpn",
    ),
    "udev": (
        {
            "/etc/udev/rules.d/80-vpn.rules": 'KERNEL=="ens3", RUN+="/usr/local/sbin/vpn"\n',
            "/usr/local/sbin/vpn": LOCAL,
        },
        [],
        "true",
        "/usr/local/sbin/vpn",
    ),
    "a hook of DHCP": (
        {"/etc/dhcp/dhclient-exit-hooks.d/vpn": LOCAL},
        [],
        "true",
        "/etc/dhcp/dhclient-exit-hooks.d/vpn",
    ),
    "a unit by a path": (
        {**BY_SHELL, "/etc/systemd/system/overlay.path": "[Path]\nPathExists=/run/x\n"},
        ["overlay.path"],
        "true",
        shell.SCRIPT,
    ),
    "a unit": (BY_SHELL, ["overlay.service"], "true", ""),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="a host's files of its own need root: run with sudo")
def test_each_file_of_a_host_that_is_not_rehearsed_is_noted() -> None:
    """What a boot may run of the overlay, and a rehearsal does not, has a note with its file; other files have none."""
    states = [{"files": files, "enabled": on, "done": done, "copied": True} for files, on, done, _ in NOTED.values()]
    for (name, expected), (copied,) in zip(NOTED.items(), named(states, persistence.words(PLAN, NODE)), strict=True):
        notes = list(rehearsal.left_out("spoke1", CopiedFiles(**copied)))
        assert [f"{expected[-1]} was not rehearsed: " in note for note in notes] == [True] * bool(expected[-1]), (
            name,
            notes,
        )
