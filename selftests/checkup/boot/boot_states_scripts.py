"""Scripts at boot: names in variables and lists, commands that make nothing, and what a script's text does not show."""

from __future__ import annotations

from lab.boot.formats import shell
from selftests.checkup.boot.boot_states import BY_HAND, BY_SHELL, GONE, SCRIPT, State, changed
from selftests.checkup.boot.boot_states_unmatched import ADDING, GROUPS, NO_MAKER

ROUTE = f"ip route replace {GROUPS} dev gretap1"
LASTS, UNKNOWN = "are named in /etc/rc.local", "cannot be determined"
NAMED = BY_HAND.replace("gretap1", "$DEV")
OTHERS = BY_HAND.replace(ADDING, "true")


def script(found: str, text: str, fix: str = "") -> State:
    """A host whose rc.local has this text; the answer is `ok` where the files are named."""
    files = {"/etc/rc.local": f"#!/bin/sh\n{text}\n"}
    return State(files, "ok" if found == LASTS else "warning", found, fix)


STATES = {
    # names by variables
    "a script, the name in a variable": script(LASTS, f"DEV=gretap1\n{NAMED}"),
    "a script, the name in quotes and braces": script(
        LASTS, f'export DEV="gretap1"\n{BY_HAND.replace("gretap1", "${DEV}")}'
    ),
    "a script, the name in two variables": script(LASTS, f"BASE=gretap\nDEV=${{BASE}}1\n{NAMED}"),
    "a script, the name in a list": script(LASTS, f"for DEV in gretap0 gretap1; do\n{NAMED}\ndone"),
    "a script, the name in a list by a variable": script(
        LASTS, f'ALL="gretap0 gretap1"\nfor DEV in $ALL; do {NAMED}; done'
    ),
    "a script, a list of other names": script(
        "it configures gretap7, which is not a device of the overlay", f"for DEV in gretap7 gretap8; do\n{NAMED}\ndone"
    ),
    "a script, a variable that no command makes": script(
        NO_MAKER, f"DEV=gretap1\n{NAMED.replace(ADDING.replace('gretap1', '$DEV'), 'true')}"
    ),
    "a script, a variable with two values": script(LASTS, f"DEV=gretap0\nDEV=gretap1\n{NAMED}"),
    "a script, a variable of its caller": script(UNKNOWN, NAMED, "/etc/rc.local"),
    "a script, a variable by a command": script(UNKNOWN, f"DEV=$(cat /etc/name)\n{NAMED}"),
    "a script, a variable with a default": script(UNKNOWN, BY_HAND.replace("gretap1", "${DEV:-gretap1}")),
    "a script, a list of numbers": script(
        UNKNOWN, f"for n in $(seq 1 2); do\n{BY_HAND.replace('gretap1', 'gretap$n')}\ndone"
    ),
    "a script, the other end in a variable of its caller": script(
        UNKNOWN, BY_HAND.replace("remote 10.0.0.197", "remote $HUB")
    ),
    "a script, the route's device in a variable of its caller": script(
        UNKNOWN, BY_HAND.replace(f"{GROUPS} dev gretap1", f"{GROUPS} dev $DEV")
    ),
    "a script, a function": script(
        LASTS, f"mk() {{ ip link add $1 type gretap remote $2 ttl 64; }}\nmk gretap1 10.0.0.197\n{OTHERS}"
    ),
    "a script, a program that may make it": script(UNKNOWN, f"mktunnel gretap1 10.0.0.197\n{OTHERS}"),
    "a script, a variable of another kind of device": script(GONE, "ip link add $DEV type dummy"),
    "a script in another language": State(
        {"/etc/rc.local": "#!/usr/bin/python3\nrun(['ip', 'link', 'add', 'gretap1', 'type', 'gretap'])\n"},
        "warning",
        UNKNOWN,
    ),
    "a script with its variables in another file": State(
        {"/etc/rc.local": f"#!/bin/sh\n. /etc/default/overlay\n{NAMED}\n", "/etc/default/overlay": "DEV=gretap1\n"},
        "ok",
        LASTS,
    ),
    # commands that make nothing
    "a script that prints the commands": script(GONE, "\n".join(f"echo {one}" for one in BY_HAND.split("; "))),
    "a script that logs the name": script(NO_MAKER, f"logger gretap1 is made\n{OTHERS}"),
    "a script that writes another one": script(GONE, f"cat >/root/x.sh <<'END'\n{BY_HAND}\nEND"),
    "a script with a rule for the groups": script(
        "the multicast route 224.0.0.0/4",
        f"{BY_HAND.replace(GROUPS, '192.0.2.0/24')}\niptables -A INPUT -d {GROUPS} -j ACCEPT",
    ),
    "a script with the route on the NIC": script(
        "it configures ens3, which is not a device of the overlay",
        BY_HAND.replace(f"{GROUPS} dev gretap1", f"{GROUPS} dev ens3"),
    ),
    "a script with a route of other groups": script(
        "lost at the next boot: the multicast route 224.0.0.0/4", BY_HAND.replace(GROUPS, "224.0.0.0/24")
    ),
    "a script with the route in another table": script(
        "it makes no route", BY_HAND.replace(f"{GROUPS} dev gretap1", f"{GROUPS} dev gretap1 table 9")
    ),
    "a script that drops the groups": script(
        "it makes no route", BY_HAND.replace(f"{GROUPS} dev gretap1", f"blackhole {GROUPS}").replace(" scope link", "")
    ),
    "a script that ends before": script(GONE, f"exit 0\n{BY_HAND}"),
    "a script that ends before on an error": script(
        LASTS, f"[ -e /proc ] || exit 1\nif false; then\n  exit 1\nfi\n{BY_HAND}"
    ),
    "a script that starts another one instead": script(GONE, f"exec /usr/bin/true\n{BY_HAND}"),
    # other ways to write the same
    "a script with options before the name": script(
        LASTS, BY_HAND.replace("ip link add gretap1", "/sbin/ip l a mtu 1400 name gretap1")
    ),
    "a unit with a shell's commands": State(
        {"/etc/systemd/system/overlay.service": f"[Service]\nExecStart=/bin/sh -c '{BY_HAND}'\n"},
        "ok",
        "are named in /etc/systemd/system/overlay.service",
        "",
        ("overlay.service",),
    ),
    "commands of a file for ip": State(
        {
            "/etc/rc.local": "#!/bin/sh\nip -batch /etc/overlay.batch\n",
            "/etc/overlay.batch": "\n".join(one[3:] for one in BY_HAND.split("; ") if one.startswith("ip ")),
        },
        "ok",
        "are named in /etc/overlay.batch",
    ),
    "a unit's script with the name in a variable": State(
        changed(
            {**BY_SHELL, shell.SCRIPT: SCRIPT.replace("gretap1", "$DEV")}, "#!/bin/sh\n", "#!/bin/sh\nDEV=gretap1\n"
        ),
        "ok",
        f"are named in {shell.SCRIPT}",
        "",
        ("overlay.service",),
    ),
}
