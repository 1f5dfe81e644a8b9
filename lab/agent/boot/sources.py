"""
The files that a boot may read, by the tool that reads them, and why it would not use one.

Sources: crontab(5), nft(8), netfilter-persistent(8), systemd-rc-local-generator(8), and cloud-init's per-boot scripts;
of the tools, those of their modules.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence

from lab.agent.boot import base, ifupdown, netplan, network_manager, networkd, units
from lab.agent.boot.base import BootObstacle, Part, Source, read
from lab.agent.boot.shell import programs

CLOUD_INIT_OFF = "/etc/cloud/cloud-init.disabled"
NFTABLES = ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf")
INCLUDED = re.compile(r"^\s*include\s+\"([^\"]+)\"", re.MULTILINE)
PERCENT = re.compile(r"(?<!\\)%")
"""What ends a command of cron."""


def _cron(path: str, text: str) -> BootObstacle:
    of_debian = not base.enabled("crond.service")
    if of_debian and path.startswith("/etc/cron.d/") and (found := base.left_out(path, "cron")):
        return found
    state = os.stat(path)
    if path.startswith("/etc/") and (state.st_mode & 0o022 or state.st_uid):
        return "cron refuses a file that others may write", f"sudo chown root {path} && sudo chmod go-w {path}"
    if found := base.carriage_returns(path, text):
        return found
    if of_debian and not _ended(path):
        return "cron refuses a file whose last line has no end", f"echo | sudo tee -a {path}"
    users = re.findall(r"@reboot\s+(\S+)", text) if path.startswith("/etc/") else [os.path.basename(path)]
    if "root" not in users and "sudo " not in text:
        why = f"cron runs it as {users[0]}, who may not change interfaces"
        return why, "sudo crontab -e    # move the line with @reboot there"
    return base.started("cron.service") if of_debian else None


def _ended(path: str) -> bool:
    """Whether a file's last line is complete."""
    with open(path, "rb") as file:
        return file.read()[-1:] in (b"\n", b"")


def _jobs(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    at_boot = at_reboot(text)
    others = "\n".join(line for line in text.splitlines() if line not in at_boot.splitlines())
    user = r"\S+\s+" if path.startswith("/etc/") else ""
    given = re.findall(rf"^\s*@reboot\s+{user}(.*)$", at_boot, re.MULTILINE)
    jobs = [PERCENT.split(job, maxsplit=1)[0] for job in given]
    shells = re.findall(r"^\s*SHELL\s*=\s*[\"']?([^\s\"']+)", text, re.MULTILINE)
    other = shells and os.path.basename(shells[-1]) not in programs.SHELLS
    why_not = (f"whether {shells[-1]} runs its jobs cannot be determined", f"grep -n SHELL {path}") if other else None
    if at_boot:
        yield Part(at_boot, obstacle=why_not, commands=programs.of_lines(path, jobs))
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


def _rc_local(path: str, text: str) -> BootObstacle:
    if base.masked("rc-local.service"):
        return "rc-local.service is masked", "sudo systemctl unmask rc-local.service"
    return base.replaced("rc-local.service", "rc.local") or base.runnable(path, text)


def _cloud_init(path: str, text: str) -> BootObstacle:
    if os.path.exists(CLOUD_INIT_OFF):
        return f"cloud-init is turned off by {CLOUD_INIT_OFF}", f"sudo rm {CLOUD_INIT_OFF}"
    return base.started("cloud-final.service") or base.runnable(path, text)


def _cloud_config(path: str, text: str) -> BootObstacle:
    """Why cloud-init does not run what a configuration has; the commands of each boot belong to its second stage."""
    if os.path.exists(CLOUD_INIT_OFF):
        return f"cloud-init is turned off by {CLOUD_INIT_OFF}", f"sudo rm {CLOUD_INIT_OFF}"
    return base.started("cloud-init.service")


def _config_parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """The commands of `bootcmd`, which run at each boot, and of `runcmd`, which ran at the first."""
    content = netplan.parsed([path]).get(path)
    if not isinstance(content, dict):
        if re.search(r"^\s*(?:bootcmd|runcmd)\s*:", text, re.MULTILINE):
            why = (f"{netplan.PYTHON} cannot read it as YAML: cannot be determined", f"sudo cat {path}")
            yield Part(text, obstacle=why, commands=programs.raw(path, text))
        return
    for name, why_not in (("bootcmd", None), ("runcmd", RAN_ONCE)):
        given = content.get(name)
        lines = [shlex.join(map(str, one)) if isinstance(one, list) else str(one) for one in given or ()]
        if isinstance(given, list) and lines:
            yield Part("\n".join(lines), obstacle=why_not, commands=programs.of_lines(path, ["\n".join(lines)]))


def _ran_once(path: str, text: str) -> BootObstacle:
    return RAN_ONCE[0], f"sudo cp {path} {PER_BOOT}/overlay && sudo chmod 755 {PER_BOOT}/overlay"


def _rule_parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """What rules of udev run: their devices and events are not followed."""
    lines = [command for rule in text.replace("\\\n", " ").splitlines() for command in UDEV_RUN.findall(rule)]
    if lines:
        why = f"whether udev runs what {path} has at boot cannot be determined", f"grep -n RUN {path}"
        yield Part("\n".join(lines), obstacle=why, commands=programs.of_lines(path, lines))


def _at_all(path: str, text: str) -> BootObstacle:
    return None


def _networkd_dispatcher(path: str, text: str) -> BootObstacle:
    found = base.program("networkd-dispatcher.service", "networkd-dispatcher", "networkd-dispatcher")
    found = found or networkd.obstacle(path, text) or base.runnable(path, text)
    state = os.path.basename(os.path.dirname(path))
    if not found and state not in ("routable.d", "configured.d", "carrier.d"):
        return f"whether a link is {state[:-2]} at boot cannot be determined", f"sudo mv {path} {ROUTABLE}"
    return found


def _sysv(path: str, text: str) -> BootObstacle:
    name = re.sub(r"^S\d\d", "", os.path.basename(path))
    if base.masked(f"{name}.service"):
        return f"{name}.service is masked", f"sudo systemctl unmask {name}.service"
    if any(os.path.exists(f"{folder}/{name}.service") for folder in base.OF_UNITS):
        return f"systemd has {name}.service in its place", f"systemctl cat {name}.service"
    return base.runnable(path, text)


def _of_sysv(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A script of SysV; one of a distribution that is not about links costs seconds."""
    if OF_LINKS.search(text) and not (_sysv(path, text) or ("", ""))[0].startswith("systemd has"):
        yield from _script("start")(path, text, words)


def _hook(path: str, text: str) -> BootObstacle:
    return "whether a boot runs it cannot be determined", f"grep -n -e ip -e dev {path}"


def _nft(path: str, text: str) -> BootObstacle:
    included = [pattern for main in NFTABLES for pattern in INCLUDED.findall(read(main))]
    if path not in NFTABLES and not any(fnmatch.fnmatch(path, pattern) for pattern in included):
        return f"{NFTABLES[0]} does not include it", f"grep -n include {NFTABLES[0]}    # then include {path}"
    return base.program("nftables.service", "nft", "nftables")


def _iptables(path: str, text: str) -> BootObstacle:
    debian = path.startswith("/etc/iptables/")
    return base.started("netfilter-persistent.service" if debian else "iptables.service")


def firewalld(path: str, text: str) -> BootObstacle:
    """Why firewalld does not load a file of its own."""
    return base.program("firewalld.service", "firewalld", "firewalld")


PER_BOOT = "/var/lib/cloud/scripts/per-boot"
RAN_ONCE = (
    "cloud-init ran it at the first boot only",
    "sudo editor /etc/cloud/cloud.cfg.d/99-overlay.cfg    # bootcmd:",
)
OF_LINKS = re.compile(r"\b(?:ip|brctl|ifconfig|bridge)\s|/usr/local/|/opt/")
ROUTABLE = "/etc/networkd-dispatcher/routable.d/"
UDEV_RUN = re.compile(r'\bRUN(?:\{program\})?\s*\+?=\s*"((?:\\.|[^"\\])*)"')
CLOUD_CONFIGS = (
    *("/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*.cfg"),
    *("/var/lib/cloud/instance/cloud-config.txt", "/var/lib/cloud/instance/user-data.txt"),
)
ONCE = (
    *("/var/lib/cloud/instance/scripts/*", "/var/lib/cloud/scripts/per-instance/*"),
    "/var/lib/cloud/scripts/per-once/*",
)
UDEV = ("/etc/udev/rules.d/*.rules", "/usr/local/lib/udev/rules.d/*.rules")
DISPATCHED = ("/etc/networkd-dispatcher/*.d/*", "/usr/lib/networkd-dispatcher/*.d/*")
HOOKS = (
    "/etc/dhcp/dhclient-*-hooks.d/*",
    "/etc/ppp/ip-up.d/*",
    "/etc/dhcp/dhclient-*-hooks",
    "/etc/sysconfig/network-scripts/if*-local",
    "/sbin/if*-local",
)
CRON = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*")
KINDS = ("*.netdev", "*.network", "*.netdev.d/*.conf", "*.network.d/*.conf")
NETWORKD = [f"{folder}/{each}" for folder in networkd.OWN for each in KINDS]
CONNECTIONS = "/etc/NetworkManager/system-connections/*"
SCRIPTS = tuple(
    f"/{folder}/NetworkManager/dispatcher.d/{each}"
    for folder in ("etc", "usr/lib")
    for each in ("*", "pre-up.d/*", "no-wait.d/*")
)
IF_UP = ("/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*")
INTERFACES = (ifupdown.INTERFACES, f"{ifupdown.INTERFACES}.d/*")
IFCFG = tuple(f"/etc/sysconfig/network-scripts/{kind}-*" for kind in ("ifcfg", "route", "route6", "rule", "rule6"))
SOURCES = (
    Source("systemd-networkd", NETWORKD, networkd.obstacle, networkd.parts),
    Source("ifupdown", INTERFACES, ifupdown.obstacle, ifupdown.parts, runs=True),
    Source("ifupdown", IF_UP, ifupdown.script_obstacle, ifupdown.script_parts, runs=True),
    Source("netplan", netplan.PATTERNS, netplan.obstacle, netplan.parts),
    Source("NetworkManager", (CONNECTIONS,), network_manager.obstacle, network_manager.parts),
    Source("NetworkManager", SCRIPTS, network_manager.script_obstacle, _at_events, runs=True),
    Source("network-scripts", IFCFG, network_manager.ifcfg_obstacle, network_manager.ifcfg_parts),
    Source("rc.local", ("/etc/rc.local", "/etc/rc.d/rc.local"), _rc_local, _script("start"), runs=True),
    Source("cloud-init", ("/var/lib/cloud/scripts/per-boot/*",), _cloud_init, _script(), runs=True),
    Source("cloud-init", CLOUD_CONFIGS, _cloud_config, _config_parts, runs=True),
    Source("cloud-init", ONCE, _ran_once, _script()),
    Source("udev", UDEV, _at_all, _rule_parts),
    Source("networkd-dispatcher", DISPATCHED, _networkd_dispatcher, _at_events, runs=True),
    Source("init.d", ("/etc/rc[2-5].d/S*",), _sysv, _of_sysv, runs=True),
    Source("hooks", HOOKS, _hook, _at_events),
    Source("cron", CRON, _cron, _jobs, runs=True),
)
FIREWALLS = (
    Source("nft", (*NFTABLES, "/etc/nftables/*.nft", "/etc/nftables.d/*", "/etc/*.nft"), _nft, as_lines),
    Source("iptables", ("/etc/iptables/rules.v4", "/etc/sysconfig/iptables"), _iptables, as_lines),
)
UNIT = Source("systemd", (), units.obstacle, units.parts, runs=True)
