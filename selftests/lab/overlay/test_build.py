"""
The order in which a lab is built: the cloud's network, then a wait until it transmits, then the overlay on it.

An overlay that sends too early gets no answer to its ARP requests, and the kernel retries after a second.
"""

from lab.machines.node import Agent


def test_the_overlay_comes_when_the_network_transmits(any_machine, make_lab, monkeypatch):
    """Every wait for the network's links is requested before the first device of the overlay is created."""
    batches, batch = [], any_machine.batch
    monkeypatch.setattr(any_machine, "batch", lambda calls: (batches.append(list(calls)), batch(calls))[1])

    topology = make_lab(routers=2).topology

    verbs = [call.verb for calls in batches for call in calls]
    waits = [position for position, verb in enumerate(verbs) if verb == "settle"]
    asked = [repr(call) for calls in batches for call in calls]
    overlay = [position for position, fields in enumerate(asked) if topology.hub.device in fields]
    assert waits
    assert max(waits) < min(overlay)


def test_the_overlay_comes_when_ipv6_addresses_receive(any_machine, make_lab, monkeypatch):
    """Every host's and router's IPv6 address is waited for: the kernel adds its local route a while after it."""
    batches, batch = [], any_machine.batch
    monkeypatch.setattr(any_machine, "batch", lambda calls: (batches.append(list(calls)), batch(calls))[1])

    lab = make_lab(kind="ip6gretap", routers=2, overlay=False)

    calls = [call for calls in batches for call in calls if call.verb == "settle"]
    waited = {address for call in calls for address in call.named["addresses"]}
    listed = [node.run("ip", "-6", "-o", "addr", "show", "scope", "global")["output"] for node in lab.nodes.values()]
    assert len(waited) > len(lab.hosts)
    assert {line.split()[3].partition("/")[0] for lines in listed for line in lines.splitlines()} == waited


def test_no_neighbour_of_the_ipv6_underlay_is_discovered(make_lab):
    """Who has which MAC address is configured, between routers too: discovery may fail for a second after a build."""
    lab = make_lab(kind="ip6gretap", routers=2, overlay=False)

    scoped = [node.run("ip", "-6", "-o", "addr", "show", "scope", "link")["output"] for node in lab.nodes.values()]
    west = lab.nodes["r2"].run("ip", "-6", "neigh", "show", "dev", "west", "nud", "permanent")["output"]
    assert "".join(scoped) == ""
    assert "fd00:10:1::1 lladdr 02:00:0a:01:00:01" in west


def test_an_address_that_is_not_there_is_named(make_lab):
    """Waiting for packets to an IPv6 address that the stack does not have returns it, when the time has passed."""
    lab = make_lab(kind="ip6gretap", overlay=False)
    own, other = (str(plan.underlay6.ip) for plan in lab.topology.nodes[:2])

    assert lab.hub.node.ask(Agent.settle, devices=[], timeout=0.01, addresses=[own, other]) == [other]
