"""
Broadcast of the ports and sizes that the hosts' own firewalls name, on labs: most hosts name none.

    iptables -A INPUT -p udp --dport 5007 -j DROP     everything is delivered but for one application
"""

import pytest


@pytest.mark.requirement("BCAST-01")
def test_is_delivered_like_any_other(overlay, everyone, listen, named_apart):
    """Each host hears every other one's broadcast once, on each port and of each size that a firewall names."""
    everybody = list(overlay.hosts)
    for named in named_apart:
        with listen(everybody, port=named.get("port")) as heard:
            for sender in overlay.hosts.values():
                sender.udp.send(to=everyone, size=named.get("size"))

        heard.exactly_once(at=everybody)
