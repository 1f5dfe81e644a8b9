"""
Rules of a host's own firewall that let tunnel packets in: what no boot loads is reported, by what the files have.

    nft or iptables, policy drop: ... udp dport 4789 accept     in the kernel alone  -->  BOOT-06 fails
                                                                in a file, loaded    -->  it holds
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.boot import firewall_persistence, saved_rules
from lab.checkup import boot_checks
from lab.commands.main import main
from lab.firewall.rules import FirewallRule
from lab.model import TunnelOptions
from lab.topology import topologies
from selftests.checkup.boot.test_persistence import named
from selftests.live.conftest import on_this_kernel
from selftests.live.persistence import daemons
from selftests.live.rig import Rig
from selftests.live.test_suite import run

GUARD = """
nft -f - <<END
table inet guard {{
    chain input {{
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname {{ "lo", "{device}" }} accept
        meta l4proto {{ icmp, igmp }} accept
        tcp dport 22 accept
        udp dport 4789 accept
    }}
}}
END
"""
SAVED = """
nft list ruleset > /run/saved.nft && mount --bind /run/saved.nft /etc/nftables.conf
mount -t tmpfs own /etc/systemd/system && mkdir /etc/systemd/system/multi-user.target.wants
"""
ENABLED = "touch /etc/systemd/system/multi-user.target.wants/nftables.service"


WATCHED = """
cp /usr/sbin/nft /run/nft
printf '%s\\n' '#!/bin/sh' 'echo "$*" >>/run/started' 'exec /run/nft "$@"' >/run/watch && chmod +x /run/watch
mount --bind /run/watch /usr/sbin/nft
"""
"""Notes how nft is started on a host."""


def persistence(rig: Rig, folder: Path) -> tuple[str, list[tuple[str, str]]]:
    """What BOOT-06 came to, and host and fix of each of its findings, which the doctor has, too."""
    checks = doctor(rig, folder.with_suffix(".json"))
    _, result = run(rig, folder, "tests/persistence", "--persistence")
    (outcome,) = (one["outcome"] for one in result["requirements"] if one["id"] == "BOOT-06")
    found = [one for one in result["findings"] if one["code"] == "firewall-lost-at-boot"]
    fixes = [(one["node"], one["remedy"]) for one in found]
    assert [(one["role"], one["fix"]) for one in checks if one["state"] == "warning"] == fixes
    assert [one["state"] for one in checks if one["state"] != "warning"] == ["ok"] * (3 * (outcome == "passed"))
    return outcome, fixes


def doctor(rig: Rig, output: Path, hosts: str = "") -> list[dict[str, str]]:
    """The doctor's lines about the hosts' firewalls after a reboot."""
    with output.open("w") as file, contextlib.redirect_stdout(file):
        main(["doctor", f"--hosts={hosts or rig.specs}", f"--ssh-config={rig.ssh_config}", "--json"])
    checks = json.loads(output.read_text())["checks"]
    return [check for check in checks if check["check"] == boot_checks.FIREWALL]


@pytest.mark.skipif(
    not shutil.which("nft", path="/usr/sbin") or not Path("/etc/nftables.conf").exists(),
    reason="nft is missing: apt-get install nftables",
)
def test_a_rule_that_is_in_no_file_is_lost_at_boot(tmp_path: Path) -> None:
    """A rule in the kernel alone is a finding; one in a file is, until the unit that loads it is enabled."""
    with on_this_kernel(tmp_path, shared=True) as rig:
        daemons.shell(rig.hosts["hub"], WATCHED)
        open_ = persistence(rig, tmp_path / "open")
        unneeded = daemons.shell(rig.hosts["hub"], "cat /run/started || true")
        for name, host in rig.hosts.items():
            daemons.shell(host, GUARD.format(device=rig.lab.plans[name].device))
        lost = persistence(rig, tmp_path / "lost")
        for host in rig.hosts.values():
            daemons.shell(host, SAVED)
        unused = persistence(rig, tmp_path / "unused")
        for host in rig.hosts.values():
            daemons.shell(host, ENABLED)
        kept = persistence(rig, tmp_path / "kept")
        needed = daemons.shell(rig.hosts["hub"], "cat /run/started")

    # a file is loaded to be read only where tunnel packets need a rule
    loaded = "-f /etc/nftables.conf"
    assert (loaded in unneeded, loaded in needed) == (False, True)
    assert open_ == ("not-applicable", [])
    assert lost == ("failed", [(name, saved_rules.ADD.format("inet guard input")) for name in rig.hosts])
    assert unused == ("failed", [(name, "sudo systemctl enable nftables.service") for name in rig.hosts])
    assert kept == ("passed", [])


PLAN = topologies.star(2, TunnelOptions(kind="gretap"))
POLICY = FirewallRule("iptables", "ip", "filter", "INPUT", "input", verdict="DROP")
ANY = "-i lo -j ACCEPT"
GRE = "-p gre -j ACCEPT"


def rules(*texts: str, policy: FirewallRule = POLICY) -> list[FirewallRule]:
    """A chain INPUT of iptables."""
    made = enumerate(texts, 1)
    return [
        policy,
        *(FirewallRule("iptables", "ip", "filter", "INPUT", "input", text, position=at) for at, text in made),
    ]


@pytest.mark.parametrize(
    ("own", "needed"),
    [
        (rules(ANY, GRE), [GRE]),
        (rules(ANY), []),
        (rules(ANY, GRE, "-s 10.0.0.0/24 -j ACCEPT"), []),
        (rules(GRE, policy=FirewallRule("iptables", "ip", "filter", "INPUT", "input", verdict="ACCEPT")), []),
        ([*rules(GRE), FirewallRule("iptables", "ip", "filter", "ufw-user-input", rule=GRE)], []),
    ],
    ids=["needed", "none", "others accept it too", "open anyway", "kept by ufw"],
)
def test_only_rules_that_the_tunnel_needs_are_looked_for(own: list[FirewallRule], needed: list[str]) -> None:
    """A rule counts if without it the host would drop tunnel packets, and if it names the tunnel's protocol."""
    assert [rule.rule for rule in saved_rules.needed(PLAN, PLAN.hub, own)] == needed


SAVED_CHAIN = """*filter
:INPUT {policy} [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
{rules}
COMMIT
"""
DROPPED = "the rules that a boot loads drop tunnel packets"
NONE = "lost at the next boot: the iptables rule"
IPTABLES_UNIT = "netfilter-persistent.service"


def saved(*texts: str, policy: str = "DROP") -> dict[str, str]:
    """A file of iptables-restore with a chain INPUT."""
    text = SAVED_CHAIN.format(policy=policy, rules="\n".join(texts))
    return {"/etc/iptables/rules.v4": text}


def nft(rule: str, hook: str = "input", policy: str = "drop") -> dict[str, str]:
    """A file of nft with one chain."""
    chain = f"chain own {{\n type filter hook {hook} priority 0; policy {policy};\n {rule}\n }}"
    return {"/etc/nftables.conf": f"#!/usr/sbin/nft -f\nflush ruleset\ntable inet guard {{\n {chain}\n}}\n"}


def commands(*lines: str) -> dict[str, str]:
    return {"/etc/rc.local": "#!/bin/sh\n" + "\n".join(lines) + "\n"}


FILES = {
    "saved": (saved("-A INPUT -p gre -j ACCEPT"), ""),
    "saved for others": (saved("-A INPUT -p tcp --dport 22 -j ACCEPT"), DROPPED),
    "saved in OUTPUT": (saved("-A OUTPUT -p gre -j ACCEPT"), DROPPED),
    "saved as a rule that drops": (saved("-A INPUT -p gre -j DROP", policy="ACCEPT"), DROPPED),
    "saved after a rule that drops": (saved("-A INPUT -s 10.0.0.0/24 -j DROP", "-A INPUT -p gre -j ACCEPT"), DROPPED),
    "saved for another host": (saved("-A INPUT -s 10.9.9.9 -p gre -j ACCEPT"), DROPPED),
    "saved in a chain of its own": (
        saved(":own - [0:0]", "-A INPUT -p gre -j own", "-A own -s 10.0.0.0/24 -j ACCEPT"),
        "",
    ),
    "saved without a policy, for others": (saved("-A INPUT -p tcp -j ACCEPT", policy="ACCEPT"), NONE),
    "saved behind an unknown match": (
        saved("-A INPUT -m own --own -j DROP", "-A INPUT -p gre -j ACCEPT"),
        "cannot be determined",
    ),
    "nft": (nft("ip protocol 47 accept"), ""),
    "nft in a chain for forwarding": (nft("ip protocol 47 accept", "forward"), NONE),
    "nft, dropped": (nft("ip protocol 47 drop", policy="accept"), DROPPED),
    "nft, a comment": (nft('tcp dport 22 accept comment "not gre"'), DROPPED),
    "nft, not to be loaded": (nft("gre sideways"), "cannot be determined"),
    "commands": (commands("iptables -P INPUT DROP", "iptables -A INPUT -p gre -j ACCEPT"), ""),
    "commands in front": (
        {**saved("-A INPUT -j DROP"), **commands("/sbin/iptables -w -I INPUT 1 -p gre -j ACCEPT")},
        "",
    ),
    "commands behind": ({**saved("-A INPUT -j DROP"), **commands("iptables -A INPUT -p gre -j ACCEPT")}, DROPPED),
    "commands that remove it": (
        {**saved("-A INPUT -p gre -j ACCEPT"), **commands("iptables -D INPUT -p gre -j ACCEPT")},
        DROPPED,
    ),
    "commands that may run": (
        commands("ping -c1 x && iptables -A INPUT -p gre -j ACCEPT"),
        "cannot be determined",
    ),
    "commands of nft": (commands("nft add rule inet guard own meta l4proto gre accept"), "cannot be determined"),
    "commands of OUTPUT": (commands("iptables -A OUTPUT -p gre -j ACCEPT"), NONE),
    "none": ({}, NONE),
}


@pytest.fixture(scope="module")
def answers() -> dict[str, list[dict[str, Any]]]:
    """What the agent finds on a host with each of these files."""
    units = [IPTABLES_UNIT, "nftables.service"]
    states = [{"files": files, "enabled": units, "done": "true", "firewalls": True} for files, _ in FILES.values()]
    return dict(zip(FILES, named(states, saved_rules.words(PLAN)), strict=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="a host's files of its own need root: run with sudo")
@pytest.mark.skipif(not shutil.which("nft", path="/usr/sbin"), reason="nft is missing: apt-get install nftables")
@pytest.mark.parametrize("name", FILES)
def test_the_rules_that_a_boot_loads_are_evaluated(answers: dict[str, list[dict[str, Any]]], name: str) -> None:
    """A file counts if its rules accept a tunnel packet that arrives, not if it has the words of such a rule."""
    judged = firewall_persistence.of_rules(PLAN, PLAN.hub, rules(ANY, GRE), answers[name])
    found = [one.summary for one in judged.found] or [judged.unread]
    expected = FILES[name][1]
    assert expected in found[0], found
    assert bool(found[0]) == bool(expected), found


@pytest.mark.skipif(os.geteuid() != 0, reason="a host's files of its own need root: run with sudo")
def test_a_file_that_no_boot_loads_is_named() -> None:
    """The rule is in a file whose unit is not enabled: the finding has the file and the command."""
    state = {"files": saved("-A INPUT -p gre -j ACCEPT"), "enabled": [], "done": "true", "firewalls": True}
    (found,) = named([state], saved_rules.words(PLAN))
    (finding,) = firewall_persistence.of_rules(PLAN, PLAN.hub, rules(ANY, GRE), found).found
    assert finding.remedy == f"sudo systemctl enable {IPTABLES_UNIT}"
    assert "a boot does not load /etc/iptables/rules.v4" in finding.summary
