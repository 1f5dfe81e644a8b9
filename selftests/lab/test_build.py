"""
The order in which a lab is built: the cloud's network, then a wait until it transmits, then the overlay on it.

An overlay that speaks too early asks for its neighbours in vain, and the kernel asks again after a second.
"""


def test_the_overlay_comes_when_the_network_transmits(any_machine, make_lab, monkeypatch):
    """Every wait for the network's links is asked for before the first device of the overlay is made."""
    batches, batch = [], any_machine.batch
    monkeypatch.setattr(any_machine, "batch", lambda calls: (batches.append(list(calls)), batch(calls))[1])

    topology = make_lab(routers=2).topology

    verbs = [call.verb for calls in batches for call in calls]
    waits = [position for position, verb in enumerate(verbs) if verb == "settle"]
    asked = [repr(call) for calls in batches for call in calls]
    overlay = [position for position, fields in enumerate(asked) if topology.hub.device in fields]
    assert waits
    assert max(waits) < min(overlay)


def test_an_ipv6_address_is_usable_when_it_is_added(make_lab):
    """No IPv6 address of the cloud's network is ever tentative: a tunnel from one that is sends nothing."""
    lab = make_lab(kind="ip6gretap", routers=2, overlay=False)

    listed = [node.run("ip", "-6", "-o", "addr", "show", "scope", "global")["output"] for node in lab.nodes.values()]

    lines = [line for output in listed for line in output.splitlines()]
    assert len(lines) > len(lab.hosts)
    assert [line for line in lines if " nodad" not in line] == []
