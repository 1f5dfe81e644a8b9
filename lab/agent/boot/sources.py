"""
The files that a boot may read, by the tool that reads them, and why it would not use one.

Sources: crontab(5), nft(8), netfilter-persistent(8), systemd-rc-local-generator(8), and cloud-init's per-boot scripts;
of the tools, those of their modules.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence

from lab.agent.boot import base, ifupdown, netplan, network_manager, networkd, units
from lab.agent.boot.base import Obstacle, Part, Source, read
from lab.agent.boot.shell import programs

CLOUD_INIT_OFF = "/etc/cloud/cloud-init.disabled"
NFTABLES = ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf")
INCLUDED = re.compile(r"^\s*include\s+\"([^\"]+)\"", re.MULTILINE)
PERCENT = re.compile(r"(?<!\\)%")
"""What ends a command of cron."""


def _cron(path: str, text: str) -> Obstacle:
    of_debian = not base.enabled("crond.service")
    if of_debian and path.startswith("/etc/cron.d/") and (found := base.left_out(path, "cron")):
        return found
    if path.startswith("/etc/") and os.stat(path).st_mode & 0o022:
        return "cron refuses a file that others may write", f"sudo chmod go-w {path}"
    users = re.findall(r"@reboot\s+(\S+)", text) if path.startswith("/etc/") else [os.path.basename(path)]
    if "root" not in users and "sudo " not in text:
        why = f"cron runs it as {users[0]}, who may not change interfaces"
        return why, "sudo crontab -e    # move the line with @reboot there"
    return base.started("cron.service") if of_debian else None


def _jobs(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    at_boot = at_reboot(text)
    others = "\n".join(line for line in text.splitlines() if line not in at_boot.splitlines())
    user = r"\S+\s+" if path.startswith("/etc/") else ""
    given = re.findall(rf"^\s*@reboot\s+{user}(.*)$", at_boot, re.MULTILINE)
    jobs = [PERCENT.split(job, maxsplit=1)[0] for job in given]
    if at_boot:
        yield Part(at_boot, commands=programs.of_lines(path, jobs))
    why = ("cron does not run it at boot", "sudo crontab -e    # a line with @reboot")
    yield Part(others, obstacle=why, commands=programs.raw(path, others))


def _script(*args: str) -> Callable[[str, str, Sequence[str]], Iterator[Part]]:
    """A script that a boot starts with these arguments."""

    def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
        yield Part(text, commands=programs.of_script(path, args))

    return parts


def _at_events(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A script whose arguments are those of an event."""
    yield Part(text, commands=programs.of_script(path, None))


def as_lines(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """Lines as they are."""
    yield Part(text, commands=programs.raw(path, text))


def at_reboot(text: str) -> str:
    """The lines of a crontab that cron runs at boot."""
    return "\n".join(line for line in text.splitlines() if line.lstrip().startswith("@reboot"))


def _rc_local(path: str, text: str) -> Obstacle:
    if base.masked("rc-local.service"):
        return "rc-local.service is masked", "sudo systemctl unmask rc-local.service"
    return base.runnable(path, text)


def _cloud_init(path: str, text: str) -> Obstacle:
    if os.path.exists(CLOUD_INIT_OFF):
        return f"cloud-init is turned off by {CLOUD_INIT_OFF}", f"sudo rm {CLOUD_INIT_OFF}"
    return base.started("cloud-final.service") or base.runnable(path, text)


def _nft(path: str, text: str) -> Obstacle:
    included = [pattern for main in NFTABLES for pattern in INCLUDED.findall(read(main))]
    if path not in NFTABLES and not any(fnmatch.fnmatch(path, pattern) for pattern in included):
        return f"{NFTABLES[0]} does not include it", f"grep -n include {NFTABLES[0]}    # then include {path}"
    return base.program("nftables.service", "nft", "nftables")


def _iptables(path: str, text: str) -> Obstacle:
    debian = path.startswith("/etc/iptables/")
    return base.started("netfilter-persistent.service" if debian else "iptables.service")


def firewalld(path: str, text: str) -> Obstacle:
    """Why firewalld does not load a file of its own."""
    return base.program("firewalld.service", "firewalld", "firewalld")


CRON = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*")
KINDS = ("*.netdev", "*.network", "*.netdev.d/*.conf", "*.network.d/*.conf")
NETWORKD = [f"{networkd.FOLDER}/{each}" for each in KINDS]
CONNECTIONS, SCRIPTS = "/etc/NetworkManager/system-connections/*", "/etc/NetworkManager/dispatcher.d/*"
IF_UP = ("/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*")
INTERFACES = (ifupdown.INTERFACES, f"{ifupdown.INTERFACES}.d/*")
IFCFG = tuple(f"/etc/sysconfig/network-scripts/{kind}-*" for kind in ("ifcfg", "route", "route6", "rule", "rule6"))
SOURCES = (
    Source("systemd-networkd", NETWORKD, networkd.obstacle, networkd.parts),
    Source("ifupdown", INTERFACES, ifupdown.obstacle, ifupdown.parts, runs=True),
    Source("ifupdown", IF_UP, ifupdown.script_obstacle, ifupdown.script_parts, runs=True),
    Source("netplan", netplan.PATTERNS, netplan.obstacle, netplan.parts),
    Source("NetworkManager", (CONNECTIONS,), network_manager.obstacle, network_manager.parts),
    Source("NetworkManager", (SCRIPTS,), network_manager.script_obstacle, _at_events, runs=True),
    Source("network-scripts", IFCFG, network_manager.ifcfg_obstacle, network_manager.ifcfg_parts),
    Source("rc.local", ("/etc/rc.local", "/etc/rc.d/rc.local"), _rc_local, _script("start"), runs=True),
    Source("cloud-init", ("/var/lib/cloud/scripts/per-boot/*",), _cloud_init, _script(), runs=True),
    Source("cron", CRON, _cron, _jobs, runs=True),
)
FIREWALLS = (
    Source("nft", (*NFTABLES, "/etc/nftables/*.nft", "/etc/nftables.d/*", "/etc/*.nft"), _nft, as_lines),
    Source("iptables", ("/etc/iptables/rules.v4", "/etc/sysconfig/iptables"), _iptables, as_lines),
)
UNIT = Source("systemd", (), units.obstacle, units.parts, runs=True)
