"""
Hosts that have certain files and no others, each in namespaces of its own: what the agent finds on them.

    states (standard input, JSON) ──▶ one process for each: NIC ens3, own /etc ── boot_files.naming ──▶ JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.agent import namespaces
from lab.agent.boot import copy, files, zones

NIC, MAC = "ens3", "02:00:17:00:00:19"
NOBODY = 65534
MADE = f"""
exec 3</etc/ld.so.cache 4</usr/local/lib
for folder in /etc /usr/local/sbin /usr/local/lib /var/spool /var/lib /run /opt; do
    mount -t tmpfs -o mode=755 own $folder
done
cat <&3 >/etc/ld.so.cache
for own in /proc/self/fd/4/*/; do
    mkdir "/usr/local/lib/$(basename "$own")" && mount --bind "$own" "/usr/local/lib/$(basename "$own")"
done
mount -t sysfs -o ro sysfs /sys
ip link add {NIC} address {MAC} type veth peer name far
"""
WANTS = "/etc/systemd/system/multi-user.target.wants"


def found(state: dict[str, Any], words: list[str]) -> list[dict[str, Any]]:
    """What the agent finds on a host with a state's files; this process is the host from then on."""
    namespaces.enter_for_good(namespaces.create("host"))
    subprocess.run(["sh", "-ec", MADE], check=True)
    for path, text in state["files"].items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
        Path(path).chmod(0o755 if text.startswith("#!") else 0o644)
    Path(WANTS).mkdir(parents=True, exist_ok=True)
    for unit in state["enabled"]:
        Path(WANTS, unit).symlink_to(f"../{unit}")
    who = subprocess.run(["sh", "-ec", f"{state['done']}\necho $who"], check=True, stdout=subprocess.PIPE).stdout
    if who.strip():
        os.setgroups([])
        os.setuid(NOBODY)
    if state.get("copied"):
        return [copy.copied(words)]
    if state.get("zones"):
        return zones.assigned()
    return files.naming(words, firewalls=state.get("firewalls", False))


def main() -> None:
    """Answers one line for each state."""
    asked = json.load(sys.stdin)
    for state in asked["states"]:
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0, state
            continue
        sys.stdout.write(f"{json.dumps(found(state, asked['words']))}\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
