"""
Reverse path filtering drops nothing that comes from the overlay; what comes from an underlay address it may.

    spoke1 [source 172.16.254.2] ---> spoke2 gretap2: the way back is gretap2, passes with 0, 1 and 2
    spoke1 [source 10.0.0.25] ------> spoke2 gretap2: the way back is ens3, dropped with 1 (RFC 3704, ip-sysctl.rst)
"""

import contextlib

import pytest

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


def test_nothing_of_the_overlay_is_dropped(overlay, sender, everyone, listen):
    """Broadcast and multicast from overlay addresses pass every host's filter."""
    others = overlay.others(sender)

    with listen(others, group=GROUP, bind="") as heard:
        sender.udp.send(to=everyone)
        sender.udp.send(to=GROUP)

    # whatever the hosts' counters say: other programs' packets may be dropped
    heard.exactly_once(at=others)


@pytest.mark.provoking
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_overlay_sources_pass_in_every_mode(provoked, spoke1, everyone, listen, mode):
    """Broadcast and multicast from an overlay address reach every host whatever its filter's mode."""
    others = provoked.others(spoke1)

    with contextlib.ExitStack() as filters:
        for name in others:
            filters.enter_context(filtering(provoked[name], mode))
        with listen(others, group=GROUP, bind="") as heard:
            spoke1.udp.send(to=everyone)
            spoke1.udp.send(to=GROUP)

    heard.exactly_once(at=others)


@pytest.mark.provoking
@pytest.mark.parametrize(("mode", "copies"), [(OFF, 1), (STRICT, 0), (LOOSE, 1)], ids=MODES.keys())
def test_underlay_sources_pass_unless_strict(provoked, spoke1, spoke2, everyone, listen, mode, copies):
    """Broadcast and multicast from an application bound to the NIC's address arrive in modes 0 and 2; 1 counts both."""
    bound = {"source": spoke1.address("underlay")}

    with filtering(spoke2, mode):
        before = spoke2.node.counters()[COUNTER]
        with listen([spoke2], group=GROUP, bind="") as heard:
            spoke1.udp.send(to=everyone, **bound)
            spoke1.udp.send(to=GROUP, multicast_interface=spoke1.address(), **bound)
        dropped = spoke2.node.counters()[COUNTER] - before

    heard.copies({"spoke2": copies})
    assert dropped == 2 * (1 - copies)
