"""Tests that change the lab and undo it or do not: run by `test_leftovers`, never collected by name."""

import pytest

from lab.machines import firewall
from lab.stack.changes import link_set
from selftests.lab.state.test_state import LEAKS, NIC, written

pytestmark = pytest.mark.disruptive


def test_leaves_rules(mutable_lab):
    """Eleven differences."""
    node = mutable_lab.hub.node
    node.run("sh", "-c", "for number in $(seq 10); do ip rule add priority $number lookup 7; done")
    firewall.append(node, ("INPUT", "-s", "192.0.2.1/32", "-j", "DROP"))


@pytest.mark.parametrize("kind", LEAKS)
def test_leaves_one(mutable_lab, kind):
    """One thing of a kind."""
    node = mutable_lab.hub.node
    if "IPv6" in kind:
        node.write_sysctls({f"net.ipv6.conf.{device}.disable_ipv6": 0 for device in ("lo", NIC)})
    done = node.run("sh", "-c", written(mutable_lab, LEAKS[kind][0]))
    if done["status"] != 0:
        pytest.skip(f"cannot make: {kind}: {done['errors'].strip()}")


@pytest.fixture
def detached(mutable_lab):
    """The hub's ports, without a bridge; of `--inject=hub: ip link del bridge0` the undo is refused."""
    ports = mutable_lab.topology.ports("hub")
    mutable_lab.hub.node.apply(*(link_set(port, nomaster=True) for port in ports))
    yield
    mutable_lab.hub.node.apply(*(link_set(port, master=mutable_lab.topology.bridge) for port in ports))


def test_cannot_undo(detached):
    """Nothing is left: the ports had no bridge before."""


def test_cannot_undo_and_leaves_a_rule(detached, mutable_lab):
    """The rule is left."""
    mutable_lab.hub.node.run("ip", "rule", "add", "priority", "9", "lookup", "7")


def test_finds_none(mutable_lab):
    """A new lab."""
    assert "lookup 7" not in mutable_lab.hub.node.run("ip", "rule")["output"]


def test_puts_every_port_back(mutable_lab):
    """The plan."""
    ports = mutable_lab.topology.ports("hub")
    mutable_lab.hub.node.apply(
        *(link_set(port, master=mutable_lab.topology.bridge) for port in ports),
    )


def test_finds_the_fault(mutable_lab):
    """The fault of `--inject=port-detached` is there."""
    masters = {mutable_lab.hub.node.link(port).master for port in mutable_lab.topology.ports("hub")}
    assert None in masters
