"""
Broadcast of the ports, sizes and classes of traffic that the hosts name, on labs: most hosts name none.

    iptables -A INPUT -p udp --dport 5007 -j DROP     everything is delivered but for one application
    tc filter add ... flower ip_tos 0xb8/0xfc ...     but for one class
"""

import pytest


@pytest.mark.requirement("BCAST-01")
def test_is_delivered_like_any_other(overlay, everyone, listen, named_apart):
    """Each host receives every other host's broadcast once, for each port, size and TOS that a host's rules match."""
    all_hosts = list(overlay.hosts)
    for named in named_apart:
        with listen(all_hosts, port=named.get("port")) as heard:
            for sender in overlay.hosts.values():
                sender.udp.send(to=everyone, size=named.get("size"), tos=named.get("tos"))

        heard.exactly_once(at=all_hosts)
