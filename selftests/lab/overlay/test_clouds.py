"""A cloud is known by its machines' firmware, and names its own command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from lab import live
from lab.clouds import firmware
from lab.clouds.firmware import Carrier
from lab.clouds.providers import provider
from lab.machines.base import Call

GRE, VXLAN = Carrier(47), Carrier(17, 4789)


@pytest.mark.parametrize(
    ("dmi", "name"),
    [
        ({"chassis_asset_tag": "OracleCloud.com", "sys_vendor": "QEMU"}, "oci"),
        ({"sys_vendor": "Amazon EC2", "product_name": "m6i.large", "board_vendor": "Amazon EC2"}, "aws"),
        ({"sys_vendor": "Xen", "product_name": "HVM domU", "product_version": "4.11.amazon"}, "aws"),
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, "gcp"),
        ({"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": firmware.AZURE_TAG}, "azure"),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, None),
        ({"sys_vendor": "QEMU", "product_name": "Standard PC"}, None),
        ({}, None),
    ],
)
def test_the_firmware_names_the_cloud(dmi: dict[str, str], name: str | None) -> None:
    """Each cloud is detected from its firmware; Hyper-V and QEMU elsewhere are no cloud."""
    found = firmware.detect(dmi)
    assert (found.provider.name if found else None) == name


class Firmware:
    """As much of a machine as is asked for its cloud."""

    name = "hub"
    facts: ClassVar = {"uid": 0}

    def __init__(self, **dmi: str) -> None:
        self._answers: dict[str, Any] = {"node_home": 1, "examine": {"dmi": dmi}}

    def call(self, verb: Callable[..., Any], *_: Any) -> Any:
        return self._answers[verb.__name__]

    def batch(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return [self._answers[call.verb] for call in calls]


def test_live_hosts_are_in_the_cloud_that_the_hub_names() -> None:
    """The hub's own firmware names the cloud with whose documents the hosts are compared."""
    sighted = live.cloud(Firmware(sys_vendor="Amazon EC2"))

    assert sighted is not None
    assert (sighted.provider.name, sighted.evidence) == ("aws", "sys_vendor is Amazon EC2")
    assert live.cloud(Firmware(sys_vendor="QEMU")) is None


@pytest.mark.parametrize(
    ("name", "carrier", "words"),
    [
        ("aws", GRE, ["authorize-security-group-ingress", "'IpProtocol=47,IpRanges=[{CidrIp=10.0.0.25/32}]'"]),
        ("aws", VXLAN, ["'IpProtocol=udp,FromPort=4789,ToPort=4789,IpRanges=[{CidrIp=10.0.0.25/32}]'"]),
        ("gcp", GRE, ["gcloud compute firewall-rules create", "--allow=47 --source-ranges=10.0.0.25/32"]),
        ("gcp", VXLAN, ["--allow=udp:4789"]),
        ("azure", GRE, ["Azure blocks GRE", "--tunnel=vxlan"]),
        ("azure", VXLAN, ["az network nsg rule create", "--destination-port-ranges 4789"]),
    ],
)
def test_the_command_is_the_clouds_own(name: str, carrier: Carrier, words: list[str]) -> None:
    """The command contains the protocol to accept, and its sources."""
    command = firmware.opening(provider(name), carrier, ["10.0.0.25"])
    assert all(word in command for word in words), command


def test_addresses_of_ipv6_are_let_in() -> None:
    """An underlay of IPv6 has ranges of its own length, and at AWS of their own name."""
    commands = {name: firmware.opening(provider(name), GRE, ["fd00::19"]) for name in ("oci", "aws", "gcp")}
    assert all("fd00::19/128" in command for command in commands.values()), commands
    assert "Ipv6Ranges=[{CidrIpv6=fd00::19/128}]" in commands["aws"]


@pytest.mark.parametrize("carrier", [GRE, VXLAN])
def test_oracles_rules_are_json(carrier: Carrier) -> None:
    """The command can be pasted into a shell, and its argument is a list of rules."""
    words = shlex.split(firmware.opening(provider("oci"), carrier, ["10.0.0.25", "10.0.0.131"]))
    rules = json.loads(words[words.index("--security-rules") + 1])
    assert [rule["source"] for rule in rules] == ["10.0.0.25/32", "10.0.0.131/32"]
    assert {rule["protocol"] for rule in rules} == {str(carrier.protocol)}
    assert all(("udpOptions" in rule) == (carrier.port is not None) for rule in rules)


def test_an_unknown_cloud_is_reported_as_such() -> None:
    """For an unknown cloud the rule to add is described without a command."""
    assert "let protocol 47 in from 10.0.0.25/32" in firmware.opening(None, GRE, ["10.0.0.25"])
