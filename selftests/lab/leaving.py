"""Tests that change the lab and undo it or do not: run by `test_leftovers`, never collected by name."""

import pytest

from lab.changes import link_set
from lab.machines import firewall

pytestmark = pytest.mark.provoking


def test_leaves_rules(provoked):
    """Eleven differences."""
    node = provoked.hub.node
    node.run("sh", "-c", "for number in $(seq 10); do ip rule add priority $number lookup 7; done")
    firewall.append(node, ("INPUT", "-s", "192.0.2.1/32", "-j", "DROP"))


def test_finds_none(provoked):
    """A new lab."""
    assert "lookup 7" not in provoked.hub.node.run("ip", "rule")["output"]


def test_puts_every_port_back(provoked):
    """The plan."""
    ports = provoked.topology.ports("hub")
    provoked.hub.node.apply(
        *(link_set(port, master=provoked.topology.bridge) for port in ports),
    )


def test_finds_the_fault(provoked):
    """The fault of `--inject=port-detached` is there."""
    masters = {provoked.hub.node.link(port).master for port in provoked.topology.ports("hub")}
    assert None in masters
