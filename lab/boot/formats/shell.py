"""A shell script and a systemd unit that runs it at boot: for hosts with whatever else."""

from __future__ import annotations

from lab.boot import common
from lab.boot.common import Files, head
from lab.boot.formats import iproute2
from lab.model import NodePlan, Topology

SCRIPT, UNIT = "/usr/local/sbin/overlay", "/etc/systemd/system/overlay.service"
START = f"chmod +x {SCRIPT} && systemctl daemon-reload && systemctl enable --now overlay"


def files(topology: Topology, node: NodePlan) -> Files:
    """The files of a host, by path."""
    return {SCRIPT: _script(topology, node), UNIT: _unit()}


def _script(topology: Topology, node: NodePlan) -> str:
    gone = "\n".join(f"    ip link del {device} 2>/dev/null || true" for device in iproute2.devices(topology, node))
    lines = "\n".join(f"    {command}" for command in iproute2.made(topology, node))
    return f"""#!/bin/sh
{head("creates the overlay (`overlay up`; may be repeated) and removes it (`overlay down`)")}set -eu

down() {{
{gone}
}}

up() {{
    down
{lines}
    sysctl -q -p {common.SYSCTLS}
}}

case ${{1-}} in
up | down) "$1" ;;
*) echo "usage: overlay up|down" >&2; exit 2 ;;
esac
"""


def _unit() -> str:
    return (
        head("runs the overlay's script at boot, once the NIC has its address (systemd.service(5))")
        + f"""[Unit]
Description=Layer-2 overlay for broadcast and multicast
Wants=network-online.target
After=network-online.target systemd-modules-load.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={SCRIPT} up
ExecStop={SCRIPT} down

[Install]
WantedBy=multi-user.target
"""
    )
