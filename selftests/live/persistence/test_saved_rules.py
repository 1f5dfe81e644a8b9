"""
Rules of a host's own firewall that let tunnel packets in: what no boot loads is reported, by what the files have.

    nft or iptables, policy drop: ... udp dport 4789 accept     in the kernel alone  -->  BOOT-06 fails
                                                                in a file, loaded    -->  it holds
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.boot import saved_rules
from lab.checkup import firewall_persistence
from lab.commands.main import main
from lab.firewall.rules import FirewallRule
from lab.model import TunnelOptions
from lab.topology import topologies
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
    return [check for check in checks if check["check"] == firewall_persistence.WHAT]


@pytest.mark.skipif(
    not shutil.which("nft", path="/usr/sbin") or not Path("/etc/nftables.conf").exists(),
    reason="nft is missing: apt-get install nftables",
)
def test_a_rule_that_is_in_no_file_is_lost_at_boot(tmp_path: Path) -> None:
    """A rule in the kernel alone is a finding; one in a file is, until the unit that loads it is enabled."""
    with on_this_kernel(tmp_path, shared=True) as rig:
        open_ = persistence(rig, tmp_path / "open")
        for name, host in rig.hosts.items():
            daemons.shell(host, GUARD.format(device=rig.lab.plans[name].device))
        lost = persistence(rig, tmp_path / "lost")
        for host in rig.hosts.values():
            daemons.shell(host, SAVED)
        unused = persistence(rig, tmp_path / "unused")
        for host in rig.hosts.values():
            daemons.shell(host, ENABLED)
        kept = persistence(rig, tmp_path / "kept")

    assert open_ == ("not-applicable", [])
    assert lost == ("failed", [(name, saved_rules.ADD.format("inet guard input")) for name in rig.hosts])
    assert unused == ("failed", [(name, "sudo systemctl enable nftables.service") for name in rig.hosts])
    assert kept == ("passed", [])


PLAN = topologies.star(2, TunnelOptions(kind="gretap"))
POLICY = FirewallRule("iptables", "ip", "filter", "INPUT", "input", verdict="DROP")
ANY = "-i lo -j ACCEPT"
GRE = "-p gre -j ACCEPT"
NAMED: dict[str, Any] = {
    "path": "/etc/iptables/rules.v4",
    "tool": "iptables",
    "words": ["gre"],
    "obstacle": "",
    "fix": "",
}


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


@pytest.mark.parametrize(
    ("file", "lost"),
    [
        (NAMED, False),
        ({**NAMED, "words": ["iptables"]}, True),
        ({**NAMED, "tool": "nft"}, True),
        ({**NAMED, "tool": "rc.local", "words": ["gre", "iptables"]}, False),
        ({**NAMED, "tool": "systemd-networkd"}, True),
        ({**NAMED, "obstacle": "netfilter-persistent.service is not enabled", "fix": "sudo systemctl enable x"}, True),
    ],
    ids=["saved", "another rule", "for nft", "by a script", "not a firewall's", "not loaded"],
)
def test_a_file_has_the_rule_if_it_names_the_tunnel_for_its_tool(file: dict[str, Any], lost: bool) -> None:
    """The file of the same tool, or a script with the tool's command, counts; and only where a boot uses it."""
    found = list(saved_rules.lost(PLAN, PLAN.hub, rules(ANY, GRE)[2:], [file]))
    assert bool(found) is lost
