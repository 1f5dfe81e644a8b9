"""
A standby hub: another VM takes over the hub's address and its tunnels, and no spoke is touched.

    spoke1 ==tunnel==> 10.0.0.197 ==> hub (gone)           the cloud moves the VNIC, address and MAC with it
                                 `--> standby: the same bridge0, the same tunnels
"""

import pytest

pytestmark = [pytest.mark.requirement("FAULT-08"), pytest.mark.provoking]

GROUP = "224.1.1.1"  # the article's: which groups a host routes where is MCAST-08's business, not this module's


@pytest.mark.parametrize("kind", ["broadcast", "multicast"])
def test_takes_over_without_the_spokes(build_lab, clock, record_figure, kind):
    """Sockets that were open before hear what is sent once another VM has the hub's VNIC and its set of tunnels."""
    lab = build_lab(spokes=3)
    sender, *rest = lab.spokes
    names = [spoke.name for spoke in rest]
    to, group = (lab.everyone, None) if kind == "broadcast" else (GROUP, GROUP)

    with lab.listen(names, group=group) as heard:
        began = clock(lab)
        lab.take_over("hub")
        sent = sender.udp.send(to=to)

    assert heard.payloads == {name: [sent.payload] for name in names}
    longest = max(heard.datagrams[name][0].time for name in names) - began
    record_figure(f"{kind} again after a standby hub took over", longest / 1e6)


def test_answers_like_the_one_before(build_lab):
    """After the fail-over every spoke has an answer from the hub and from every other spoke."""
    lab = build_lab()
    lab.take_over("hub")

    for spoke in lab.spokes:
        spoke.ping(lab.everyone).exactly_once_by(lab.hosts)
