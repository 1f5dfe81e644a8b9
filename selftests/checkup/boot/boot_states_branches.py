"""Scripts whose commands run, do not run, or may run: branches, loops, functions, ends, and what undoes a command."""

from __future__ import annotations

from collections.abc import Mapping

from lab.boot.formats import shell
from selftests.checkup.boot.boot_states import (
    BY_HAND,
    BY_SHELL,
    CRON,
    GONE,
    IFUP,
    LOCAL,
    MAKING,
    SOURCED,
    State,
    changed,
)
from selftests.checkup.boot.boot_states_scripts import LASTS, NAMED, UNKNOWN, script
from selftests.checkup.boot.boot_states_unmatched import ADDING, GROUPS, by_ifupdown

UNIT, OWN = "/etc/systemd/system/own.service", "/usr/local/sbin/vpn"
LINES = "\n".join(MAKING)
CHAIN = " && ".join(MAKING)
NO_ROUTE = "lost at the next boot: the multicast route 224.0.0.0/4"


def unit(found: str, service: str, *, text: str = LOCAL, ok: bool = False, done: str = "true") -> State:
    """A unit with these settings, and a script."""
    files = {UNIT: f"[Service]\n{service}\n", OWN: text}
    return State(files, "ok" if ok else "warning", found, "", ("own.service",), done)


def run_by(caller: str, text: str = LOCAL) -> Mapping[str, str]:
    return {"/etc/rc.local": f"#!/bin/sh\n{caller}\n", OWN: text}


def called(found: str, caller: str, text: str = LOCAL, *, done: str = "true") -> State:
    """A script that rc.local runs in this way."""
    state = "ok" if found.startswith("are named") else "warning"
    return State(run_by(caller, text), state, found, "", (), done)


IN_OWN = f"are named in {OWN}"
STATES = {
    # branches
    "a script, in a branch that a ping decides": script(UNKNOWN, f"if ping -c1 10.0.0.197; then\n{LINES}\nfi"),
    "a script, in the other branch": script(UNKNOWN, f"if grep -q x /etc/x; then\n  true\nelse\n{LINES}\nfi"),
    "a script, in a branch that is not taken": script(GONE, f"if false; then\n{LINES}\nfi"),
    "a script, in a branch that is taken": script(LASTS, f"if [ -d /etc ]; then\n{LINES}\nfi"),
    "a script, in a branch by a file of this boot": script(UNKNOWN, f"[ -e /run/overlay ] && {{ {BY_HAND}; }}"),
    "a script, after a test that may fail": script(UNKNOWN, f"pgrep vpn && {{ {BY_HAND}; }}"),
    "a script, after a test that fails": script(GONE, f"[ x = y ] && {{ {BY_HAND}; }}"),
    "a script, where the device is not there": script(
        LASTS, f"ip link show gretap1 >/dev/null 2>&1 || {ADDING}\n{LINES.replace(ADDING, 'true')}"
    ),
    "a script, where the device is not there, in sysfs": script(
        LASTS, f"if [ ! -d /sys/class/net/gretap1 ]; then\n{LINES}\nfi"
    ),
    "a script, unless the device is there": script(LASTS, f"if ip link | grep -q gretap1; then exit 0; fi\n{LINES}"),
    "a script, where the device is there": script(UNKNOWN, f"if [ -d /sys/class/net/gretap1 ]; then\n{LINES}\nfi"),
    "a script, a chain of commands": script(LASTS, CHAIN),
    "a script, each command or the end": script(LASTS, "\n".join(f"{one} || exit 1" for one in MAKING)),
    "a script, a command that only replaces a failed one": script(UNKNOWN, f"modprobe ip_gre || {{ {BY_HAND}; }}"),
    "a script, a case that its argument chooses": called(
        IN_OWN, f"{OWN} up", f"#!/bin/sh\ncase $1 in\nup)\n{LINES}\n;;\ndown) ip link del gretap1;;\nesac\n"
    ),
    "a script, a case that its argument does not choose": called(
        GONE, f"{OWN} start", f"#!/bin/sh\ncase $1 in\nup)\n{LINES}\n;;\ndown) ip link del gretap1;;\nesac\n"
    ),
    "a script, a case by a command": script(UNKNOWN, f"case $(hostname) in\nspoke1)\n{LINES}\n;;\nesac"),
    "a script, a test of its argument": called(GONE, OWN, f'#!/bin/sh\nif [ "$1" = up ]; then\n{LINES}\nfi\n'),
    "a script, without an argument that it needs": called(GONE, OWN, f"#!/bin/sh -u\ntest $1\n{LINES}\n"),
    # loops
    "a script, in a loop that may not begin": script(UNKNOWN, f"for d in $(ls /etc); do\n{LINES}\ndone"),
    "a script, after a loop that may not end": script(UNKNOWN, f"until ping -c1 10.0.0.197; do sleep 1; done\n{LINES}"),
    "a script, after a loop that does not end": script(UNKNOWN, f"while true; do sleep 1; done\n{LINES}"),
    "a script, in a loop that lines of a file have": script(
        UNKNOWN, f"while read d; do\n{LINES.replace('gretap1', '$d')}\ndone </etc/tunnels"
    ),
    "a script, in a loop that it leaves": script(GONE, f"for d in gretap1; do\nbreak\n{LINES}\ndone"),
    "a script, after a command that does not end": script(UNKNOWN, f"tail -f /dev/null\n{LINES}"),
    # functions
    "a script, in a function that nothing calls": script(GONE, f"up() {{\n{LINES}\n}}\necho done"),
    "a script, in a function that it calls": script(LASTS, f"up() {{\n{LINES}\n}}\nup"),
    "a script, in a function after its return": script(GONE, f"up() {{\nreturn 0\n{LINES}\n}}\nup"),
    "a script, a function in place of a program": script(GONE, f'ip() {{\n  echo "$@"\n}}\n{LINES}'),
    "a script, an alias in place of a program": script(UNKNOWN, f"alias ip='echo ip'\n{LINES}"),
    # ends
    "a script, after an end that may come": script(UNKNOWN, f"grep -q overlay /etc/x || exit 0\n{LINES}"),
    "a script, after an error": script(GONE, f"set -e\nfalse\n{LINES}"),
    "a script, after a possible error": script(UNKNOWN, f"set -e\ncurl http://x/\n{LINES}"),
    "a script, after a removal that fails at boot": script(UNKNOWN, f"set -e\nip link del gretap1\n{LINES}"),
    "a script, after a removal that may fail": script(
        LASTS, f"set -e\nip link del gretap1 2>/dev/null || true\n{LINES}"
    ),
    "a script, only read by its shell": script(GONE, f"set -n\n{LINES}"),
    # documents, and texts that are run
    "a script, in a here-document": script(GONE, f"cat >/dev/null <<END\n{LINES}\nEND\ntrue"),
    "a script, in a here-document for a shell": script(LASTS, f"sh <<'END'\n{LINES}\nEND"),
    "a script, in a here-document for ip": script(
        LASTS, "ip -batch - <<END\n{}\nEND".format("\n".join(one[3:] for one in MAKING if one.startswith("ip ")))
    ),
    "a script, by a text that is run": script(LASTS, f"eval '{BY_HAND}'"),
    "a script, by a text of a command": script(UNKNOWN, "eval $(cat /etc/overlay.text)"),
    "a script, by what a command prints": script(UNKNOWN, f"echo '{BY_HAND}' | sh"),
    "a script, in the background": script(UNKNOWN, f"( sleep 9; {BY_HAND} ) &"),
    "a script, in a trap": script(UNKNOWN, f"trap '{BY_HAND}' EXIT"),
    "a script, at a signal": script(GONE, f"trap '{BY_HAND}' HUP"),
    "a script in another network": script(
        GONE, "\n".join(one.replace("ip ", "ip netns exec vpn ip ", 1) for one in MAKING)
    ),
    "a script by its option in another network": script(
        GONE, "\n".join(one.replace("ip ", "ip -n vpn ", 1) for one in MAKING)
    ),
    "a script on another host": script(GONE, f"ssh spoke2 '{BY_HAND}'"),
    # what undoes a command
    "a script that removes its device": script(GONE, f"{LINES}\nip link del gretap1"),
    "a script that may remove its device": script(UNKNOWN, f"{LINES}\nping -c1 10.0.0.197 || ip link del gretap1"),
    "a script that removes its device at its end": script(UNKNOWN, f"trap 'ip link del gretap1' EXIT\n{LINES}"),
    "a script that removes its route": script(NO_ROUTE, f"{LINES}\nip route del {GROUPS} dev gretap1"),
    "a script that sets its device down": script(NO_ROUTE, f"{LINES}\nip link set gretap1 down"),
    "a script that renames its device": script("gretap1", f"{LINES}\nip link set gretap1 name vpn"),
    "a script that makes its device again": script(LASTS, f"{LINES}\nip link del gretap1\n{LINES}"),
    # other files, and how they are run
    "a script that reads another one": called(IN_OWN, f". {OWN}", BY_HAND),
    "a script that may read another one": called(UNKNOWN, f"ping -c1 x && . {OWN}", BY_HAND),
    "a script that reads one that ends it": State(
        {"/etc/rc.local": f"#!/bin/sh\n. {OWN}\n{LINES}\n", OWN: "exit 0\n"}, "warning", GONE
    ),
    "a script by its name alone": called(IN_OWN, "vpn"),
    "a script that is written before": called(UNKNOWN, f"echo true >{OWN}\n{OWN}"),
    "a script of a folder": State(
        {"/etc/rc.local": "#!/bin/sh\nrun-parts /etc/overlay.d\n", "/etc/overlay.d/10-vpn": LOCAL},
        "ok",
        "are named in /etc/overlay.d/10-vpn",
    ),
    "a script of an interpreter that is not there": called(
        "its interpreter /usr/bin/nosh is not installed", OWN, f"#!/usr/bin/nosh\n{LINES}\n"
    ),
    "a script with the ends of lines of Windows": called(
        "carriage return", OWN, f"#!/bin/sh\n{LINES}\n".replace("\n", "\r\n")
    ),
    "a script by a shell with such ends of lines": called(
        "carriage return", f"sh {OWN}", f"{LINES}\n".replace("\n", "\r\n")
    ),
    "a script that its shell only checks": called(GONE, f"sh -n {OWN}"),
    "a script as another user": called(UNKNOWN, f"sudo -u opc {OWN} gretap1 {GROUPS}"),
    "a script that cannot be parsed": script(UNKNOWN, f"if then\n{LINES}"),
    # units
    "a unit that is removed at its end": unit(
        GONE, f"Type=oneshot\nExecStart={OWN}\nExecStop=/sbin/ip link del gretap1"
    ),
    "a unit that stays": unit(
        IN_OWN, f"Type=oneshot\nRemainAfterExit=yes\nExecStart={OWN}\nExecStop=/sbin/ip link del gretap1", ok=True
    ),
    "a unit without a shell": unit(
        "systemd starts it without a shell", f"ExecStart=/sbin/ip link add gretap1 type gretap && {CHAIN}"
    ),
    "a unit of commands": State(
        {UNIT: "[Service]\nType=oneshot\n" + "".join(f"ExecStart=/sbin/{one}\n" for one in MAKING)},
        "ok",
        f"are named in {UNIT}",
        "",
        ("own.service",),
    ),
    "a unit after a command that may fail": unit(
        UNKNOWN, f"Type=oneshot\nExecStartPre=/bin/ping -c1 x\nExecStart={OWN}"
    ),
    "a unit after a command that fails": unit(GONE, f"Type=oneshot\nExecStartPre=/bin/false\nExecStart={OWN}"),
    "a unit after a command that need not succeed": unit(
        IN_OWN, f"Type=oneshot\nExecStartPre=-/bin/ping -c1 x\nExecStart={OWN}", ok=True
    ),
    "a unit of another user": unit("it runs as opc", f"User=opc\nExecStart={OWN}"),
    "a unit with a network of its own": unit("its network is another one", f"PrivateNetwork=yes\nExecStart={OWN}"),
    "a unit with the name in its environment": unit(
        IN_OWN, f"Environment=DEV=gretap1\nExecStart={OWN}", text=f"#!/bin/sh\n{NAMED}\n", ok=True
    ),
    "a unit with the name in a file": State(
        {
            UNIT: f"[Service]\nEnvironmentFile=/etc/default/vpn\nExecStart={OWN} ${{DEV}}\n",
            "/etc/default/vpn": "DEV=gretap1\n",
            OWN: f"#!/bin/sh\n{NAMED.replace('$DEV', '$1')}\n",
        },
        "ok",
        IN_OWN,
        "",
        ("own.service",),
    ),
    # ifupdown and cron
    "ifupdown, a script at a device that is taken down": State(
        {**SOURCED, "/etc/network/interfaces.d/lo": "auto lo\n", "/etc/network/if-down.d/vpn": LOCAL},
        "warning",
        GONE,
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, a script at another device": State(
        {
            **SOURCED,
            "/etc/network/interfaces.d/lo": "auto lo\niface lo inet loopback\n",
            "/etc/network/if-up.d/vpn": f'#!/bin/sh\n[ "$IFACE" = ens3 ] || exit 0\n{LINES}\n',
        },
        "warning",
        GONE,
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, a script at this device": State(
        {
            **SOURCED,
            "/etc/network/interfaces.d/ens3": "auto ens3\niface ens3 inet dhcp\n",
            "/etc/network/if-up.d/vpn": f'#!/bin/sh\n[ "$IFACE" = ens3 ] || exit 0\n{LINES}\n',
        },
        "ok",
        "are named in /etc/network/if-up.d/vpn",
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, a command that may run": by_ifupdown(
        UNKNOWN, "auto ens3\niface ens3 inet dhcp\n" + "".join(f"    up ping -c1 x && {one}\n" for one in MAKING)
    ),
    "ifupdown, commands that remove": by_ifupdown(
        GONE, f"auto ens3\niface ens3 inet dhcp\n    up {BY_HAND}\n    up ip link del gretap1\n"
    ),
    "cron, in a branch": State(
        {"/etc/cron.d/vpn": f"@reboot root ping -c1 x && {{ {BY_HAND}; }}\n"}, "warning", UNKNOWN, "", (CRON,)
    ),
    "cron, after a percent sign": State(
        {"/etc/cron.d/vpn": f"@reboot root date +%F; {BY_HAND}\n"}, "warning", GONE, "", (CRON,)
    ),
    "the script of the plan, with another argument": State(
        changed(BY_SHELL, f"{shell.SCRIPT} up", f"{shell.SCRIPT} start"),
        "warning",
        GONE,
        "",
        ("overlay.service",),
    ),
}
