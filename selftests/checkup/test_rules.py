"""
What a firewall would do with a packet: worked out from the rules of those that cloud images and people use.

What is not understood leaves the verdict open: a rule that is misread as "accepted" hides a fault, one that is misread
as "dropped" is a false alarm.
"""

from __future__ import annotations

from typing import Any

import pytest

from lab.agent import firewalls, listing
from lab.checkup import firewall_fixes, rules
from lab.checkup.verdicts import Firewall, Packet
from lab.clouds import Carrier
from lab.records import FirewallRule, typed

GRE = Packet(47, incoming="ens3", source="10.0.0.25", destination="10.0.0.197")
ANSWER = Packet(47, incoming="ens3", source="10.0.0.25", destination="10.0.0.197", state="established")
VXLAN = Packet(17, incoming="ens3", source="10.0.0.25", destination="10.0.0.197", port=4789)
SSH = Packet(6, incoming="ens3", source="10.0.0.25", destination="10.0.0.197", port=22)
BRIDGED = Packet(17, "bridge0", "bridge0", "172.16.254.2", "172.16.254.255", kind="broadcast")

# Oracle Cloud's own images come with these
OCI = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
"""
DOCKER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-USER -j RETURN
"""
UFW = """*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
:ufw-not-local - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -m limit --limit 3/min -j LOG --log-prefix "[UFW BLOCK] "
-A ufw-not-local -j DROP
-A ufw-user-input -s 10.0.0.0/24 -p gre -j ACCEPT
-A ufw-user-input -p tcp -m multiport --dports 22,8000:8010 -j ACCEPT
"""
FIREWALLD = """table inet firewalld { # handle 1
	chain filter_INPUT { # handle 1
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept # handle 7
		ct status dnat accept # handle 8
		iifname "lo" accept # handle 9
		ct state invalid drop # handle 10
		jump filter_INPUT_ZONES # handle 11
		reject with icmpx admin-prohibited # handle 12
	}
	chain filter_INPUT_ZONES { # handle 2
		iifname "ens3" goto filter_IN_public # handle 13
		goto filter_IN_public # handle 14
	}
	chain filter_IN_public { # handle 3
		jump filter_IN_public_allow # handle 15
		meta l4proto { icmp, ipv6-icmp } accept # handle 17
	}
	chain filter_IN_public_allow { # handle 4
		tcp dport 22 accept # handle 19
		ip6 daddr fe80::/64 udp dport 546 accept # handle 20
	}
	chain filter_FORWARD { # handle 5
		type filter hook forward priority filter; policy drop;
		ct state vmap { invalid : drop, established : accept, related : accept } # handle 22
		iifname { "lo", "docker0" } oifname "docker*" accept # handle 24
		log prefix "drop or accept: " flags all counter packets 0 bytes 0 comment "accept all" # handle 25
		udp dport != 53 ip saddr 10.0.0.0/24 accept # handle 26
	}
}
"""


def read(text: str) -> Firewall:
    """The firewall, as the agent hands on what a program lists."""
    listed = listing.rules(text) if text.startswith("table") else _saved(text)
    return rules.firewall(typed("firewall", listed))


def _saved(text: str) -> list[dict[str, Any]]:
    return firewalls._parse_saved(text, "iptables-nft", "ip")


@pytest.mark.parametrize(
    ("text", "hook", "packet", "passes"),
    [
        ("", "input", GRE, True),
        (OCI, "input", GRE, False),
        (OCI, "input", ANSWER, True),
        (OCI, "input", SSH, True),
        (OCI, "forward", BRIDGED, False),
        (DOCKER, "input", GRE, True),
        (DOCKER, "forward", BRIDGED, False),
        (UFW, "input", GRE, True),
        (UFW, "input", VXLAN, False),
        (UFW, "input", Packet(6, "ens3", port=8004), True),
        (UFW, "input", Packet(6, "ens3", port=8011), False),
        (UFW, "input", Packet(6, "ens3"), None),
        (FIREWALLD, "input", GRE, False),
        (FIREWALLD, "input", ANSWER, True),
        (FIREWALLD, "input", SSH, True),
        (FIREWALLD, "forward", BRIDGED, False),
        (FIREWALLD, "forward", Packet(17, "eth1", "docker7", "10.0.0.25", port=5000), True),
        (FIREWALLD, "forward", Packet(17, "eth1", "docker7", "10.0.0.25", port=53), False),
        (FIREWALLD, "forward", Packet(6, "docker0", "docker7", "10.9.0.25"), True),
    ],
)
def test_what_becomes_of_a_packet(text: str, hook: str, packet: Packet, passes: bool | None) -> None:
    """The verdict is the kernel's; if a rule matches a field that the packet leaves open, there is none."""
    assert read(text).of(packet, hook).passes is passes


@pytest.mark.parametrize(
    "rule",
    [
        "-m set --match-set peers src -j ACCEPT",
        "-m physdev --physdev-is-bridged -j ACCEPT",
        "-m recent --rcheck --name x --rsource -j ACCEPT",
        "-m u32 --u32 '0>>22&0x3C@4=0x1' -j ACCEPT",
        "-j NFQUEUE --queue-num 1",
    ],
)
def test_what_is_not_understood_is_left_open(rule: str) -> None:
    """A rule that cannot be read makes no verdict, whatever follows it."""
    assert read(f"*filter\n:INPUT DROP [0:0]\n-A INPUT {rule}\n").of(GRE, "input").passes is None


@pytest.mark.parametrize(
    "line",
    [
        "ip saddr @peers accept",
        "meta mark 0x1 accept",
        "ip protocol @carriers accept",
        "ct helper x drop",
        "queue to 1",
    ],
)
def test_what_is_not_understood_of_nft_is_left_open(line: str) -> None:
    """A line that cannot be read makes no verdict, be it accepting or dropping."""
    policy = "accept" if "drop" in line else "drop"
    head = (
        f"table ip t {{ # handle 1\n\tchain c {{ # handle 1\n\t\ttype filter hook input priority 0; policy {policy};\n"
    )
    assert read(f"{head}\t\t{line} # handle 2\n\t}}\n}}\n").of(GRE, "input").passes is None


def test_the_rule_is_quoted() -> None:
    """The fix of a firewall names the rule."""
    assert read(OCI).of(GRE, "input").why == "INPUT: -j REJECT --reject-with icmp-host-prohibited (iptables-nft)"
    assert read(DOCKER).of(BRIDGED, "forward").why == "the policy of FORWARD (iptables-nft)"


def test_what_could_not_be_read_is_no_verdict() -> None:
    """A firewall that is there and hides its rules may do anything."""
    hidden = rules.firewall([FirewallRule("nft", "inet", "fw", unread="nft is not installed")])
    verdict = hidden.of(GRE, "input")
    assert verdict.passes is None
    assert "nft is not installed" in verdict.why


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (OCI, "sudo iptables -I INPUT -s 10.0.0.25 -p gre -j ACCEPT"),
        (UFW, "sudo ufw insert 1 allow in proto gre from 10.0.0.25"),
        (FIREWALLD, "sudo firewall-cmd --permanent --add-protocol=gre && sudo firewall-cmd --reload"),
        (FIREWALLD.replace("firewalld", "mine"), "sudo nft insert rule inet mine filter_INPUT ip saddr 10.0.0.25 ip"),
    ],
)
def test_the_remedy_is_that_of_the_tool(text: str, command: str) -> None:
    """A rule is added with the tool that has the others."""
    assert firewall_fixes.accepting(read(text), Carrier(47), "10.0.0.25").startswith(command)
