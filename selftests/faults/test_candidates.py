"""
Which rule without a counter may have dropped what was lost: the one that the lost packets meet first.

    recording of a spoke that receives no broadcast, with another firewall  -->  explain  -->  the rule, or no rule
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.diagnose import explain
from lab.diagnose.rules.host import firewall
from lab.stack.records import typed
from selftests.faults import recordings
from selftests.lab.overlay.test_firewall import ACCEPT, DROP, jump, listed, match, vmap

UDP = match("meta l4proto", {"set": ["udp", "icmp"]})
BROADCAST = match("ip daddr", {"set": ["172.16.254.255", "255.255.255.255"]})
MARKED = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 7}}
CONCAT = {"concat": [{"payload": {"protocol": "ip", "field": "daddr"}}, {"meta": {"key": "l4proto"}}]}
PAIRS = {"set": [{"concat": ["172.16.254.255", "udp"]}]}


@pytest.mark.parametrize(
    ("chains", "accused"),
    [
        ({"c input accept": [[UDP, DROP]]}, ["c 1"]),
        ({"c input accept": [[UDP, ACCEPT], [DROP]]}, []),
        ({"c input drop": [[UDP, ACCEPT]]}, []),
        ({"c input drop": [[match("meta l4proto", "tcp"), ACCEPT]]}, ["c policy"]),
        ({"c input accept": [[match("ip saddr", "@unknown"), ACCEPT], [UDP, DROP]]}, ["c 2"]),
        ({"c input accept": [[BROADCAST, jump("deep")]], "deep": [[match("udp dport", 22), DROP], [DROP]]}, ["deep 2"]),
        ({"c input accept": [[vmap("meta l4proto", tcp="accept", udp="drop")]]}, ["c 1"]),
        ({"c input accept": [[vmap("meta l4proto", tcp="drop", udp="accept", icmp="accept")], [DROP]]}, []),
        ({"c input accept": [[BROADCAST, MARKED], [match("meta mark", 7), DROP]]}, ["c 2"]),
        ({"c input accept": [[match("meta mark", 7), DROP]]}, []),
        ({"c input accept": [[{"match": {"op": "==", "left": CONCAT, "right": PAIRS}}, DROP]]}, ["c 1"]),
        (
            {"c input accept": [[match("meta iifname", "eth9"), DROP], [match("ip dscp", "ef"), {"queue": None}]]},
            ["c 2"],
        ),
        ({"c output accept": [[match("meta l4proto", "udp"), DROP]], "d forward drop": []}, []),
    ],
)
def test_the_rule_that_takes_what_was_lost_is_accused(chains: dict[str, Any], accused: list[str]) -> None:
    """Rules are followed through sets, maps, marks and jumps; one that no lost packet reaches is not accused."""
    scene = recordings.case_of("broadcast-filtered").scene
    spoke = scene.hosts["spoke2"]
    lists = list(typed("firewall", listed(chains, "guard")))
    seen = replace(scene, hosts={**scene.hosts, "spoke2": replace(spoke, firewall=lists)})

    found = [finding.rule for finding in explain.run(firewall.dropped, seen)]

    names = {f"guard: -A {one.chain} {one.rule}": f"{one.chain} {one.rule}" for one in lists}
    assert [names.get(rule, f"{rule[-1:]} policy") for rule in found] == accused
