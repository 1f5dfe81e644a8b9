"""
Reverse path filtering drops nothing that comes from the overlay; what comes from an underlay address it may.

    spoke1 [source 172.16.254.2] ---> spoke2 gretap2: the way back is gretap2, passes with 0, 1 and 2
    spoke1 [source 10.0.0.25] ------> spoke2 gretap2: the way back is ens3, dropped with 1 (RFC 3704, ip-sysctl.rst)
"""

import contextlib

import pytest

from fixtures.probes import destinations
from lab import groups

pytestmark = pytest.mark.requirement("PRE-07")

COUNTER = "TcpExtIPReversePathFilter"
GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
OFF, STRICT, LOOSE = 0, 1, 2
MODES = {"off": OFF, "strict": STRICT, "loose": LOOSE}


@contextlib.contextmanager
def filtering(host, mode):
    """The host's filter in one mode: the kernel takes the larger of `all` and the device's own."""
    names = [f"net.ipv4.conf.{scope}.rp_filter" for scope in ("all", host.plan.device)]
    with contextlib.ExitStack() as undoing:
        for name in names:
            undoing.enter_context(host.node.with_sysctl(name, mode))
        yield


def test_nothing_of_the_overlay_is_dropped(overlay, sender, listen):
    """Broadcast and multicast from overlay addresses pass every host's filter."""
    others = overlay.others(sender)

    with listen(others, group=GROUP, bind="") as heard:
        for to in destinations(overlay, GROUP):
            sender.udp.send(to=to)

    # whatever the hosts' counters say: other programs' packets may be dropped
    heard.exactly_once(at=others)


@pytest.mark.disruptive
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_overlay_sources_pass_in_every_mode(mutable_lab, spoke1, listen, mode):
    """Broadcast and multicast from an overlay address reach every host whatever its filter's mode."""
    others = mutable_lab.others(spoke1)

    with contextlib.ExitStack() as filters:
        for name in others:
            filters.enter_context(filtering(mutable_lab[name], mode))
        with listen(others, group=GROUP, bind="") as heard:
            for to in destinations(mutable_lab, GROUP):
                spoke1.udp.send(to=to)

    heard.exactly_once(at=others)


def underlay_sources_heard(lab, sender, receiver, listen):
    """How many of a broadcast and a multicast from the sender's underlay address arrive, and how many are dropped."""
    bound, before = {"source": sender.address("underlay")}, receiver.node.counters()[COUNTER]
    with listen([receiver], group=GROUP, bind="") as heard:
        sender.udp.send(to=lab.everyone, **bound)
        sender.udp.send(to=GROUP, multicast_interface=sender.address(), **bound)
    return len(heard.payloads[receiver.name]), receiver.node.counters()[COUNTER] - before


def test_underlay_sources_pass_as_the_filter_allows(overlay, receiver, listen):
    """Broadcast and multicast with another host's underlay address arrive on each host unless its filter is strict."""
    sender = overlay[overlay.others(receiver)[0]]
    mode = max(int(receiver.node.sysctl(f"net.ipv4.conf.{scope}.rp_filter")) for scope in ("all", receiver.plan.device))

    arrived, _ = underlay_sources_heard(overlay, sender, receiver, listen)

    assert arrived == (0 if mode == STRICT else 2)


@pytest.mark.disruptive
@pytest.mark.parametrize(("mode", "copies"), [(OFF, 2), (STRICT, 0), (LOOSE, 2)], ids=MODES.keys())
def test_underlay_sources_pass_unless_strict(mutable_lab, receiver, listen, mode, copies):
    """Broadcast and multicast from an underlay address arrive in modes 0 and 2; mode 1 drops and counts both."""
    sender = mutable_lab[mutable_lab.others(receiver)[0]]

    with filtering(receiver, mode):
        arrived, dropped = underlay_sources_heard(mutable_lab, sender, receiver, listen)

    assert (arrived, dropped) == (copies, 2 - copies)
