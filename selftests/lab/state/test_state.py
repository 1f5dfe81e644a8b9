"""
The comparison of states: whatever a test can leave changed is reported by name, with the command that reverts it.

    state before ── a command on the hub ── state after: one difference ── its reverting command ── state before
"""

import pytest

from lab.machines import firewall
from lab.machines.node import Agent
from lab.probes.host_state.ipv6 import usable
from lab.stack import differences, state
from lab.stack.changes import link_set

PORT, BRIDGE, NIC = "PORT", "bridge0", "ens3"  # PORT: the hub's end of the first tunnel
ADDRCONF = 30.0  # seconds: the kernel's queue for addresses waits while it removes the stacks of other labs
MAC = "02:00:00:00:00:99"

# what changes it, and the difference that must be reported
LEAKS = {
    "link": ("ip link add leak0 type bridge", "hub link added: leak0"),
    "mtu": (f"ip link set {NIC} mtu 1400", f"hub {NIC} mtu: 9000 → 1400"),
    "mac": (f"ip link set {BRIDGE} address {MAC}", f"→ {MAC}"),
    "arp": (f"ip link set {NIC} arp off", f"hub {NIC} arp: on → off"),
    "promisc": (f"ip link set {NIC} promisc on", f"hub {NIC} promisc: off → on"),
    "queue length": (f"ip link set {NIC} txqueuelen 7", f"hub {NIC} txqueuelen: 1000 → 7"),
    "master": (f"ip link set {PORT} nomaster", f"hub {PORT} master: {BRIDGE} → none"),
    "down": (f"ip link set {PORT} down", f"hub {PORT} up: on → off"),
    "bridge option": (f"ip link set {BRIDGE} type bridge mcast_snooping 0", f"hub {BRIDGE} mcast_snooping: 1 → 0"),
    "bridge filter": (f"ip link set {BRIDGE} type bridge vlan_filtering 1", f"hub {BRIDGE} vlan_filtering: 0 → 1"),
    "port flag": (f"bridge link set dev {PORT} learning off", f"hub bridge port {PORT} learning: 1 → 0"),
    "port mode": (f"bridge link set dev {PORT} isolated on", f"hub bridge port {PORT} isolated: 0 → 1"),
    "VLAN": (f"bridge vlan add vid 7 dev {PORT}", f"hub VLAN added: vid 7 dev {PORT}"),
    "address": (f"ip addr add 192.0.2.1/32 dev {BRIDGE}", f"hub address added: 192.0.2.1/32 dev {BRIDGE}"),
    "address removed": ("ip addr del 127.0.0.1/8 dev lo", "hub address removed: 127.0.0.1/8 dev lo"),
    "IPv6 address": ("ip addr add 2001:db8::1/128 dev lo", "hub address added: 2001:db8::1/128 dev lo"),
    "route": (f"ip route add 192.0.2.0/24 dev {NIC}", f"hub route added: 192.0.2.0/24 dev {NIC} table main"),
    "route removed": (f"ip route del 224.0.0.0/4 dev {BRIDGE}", f"hub route removed: 224.0.0.0/4 dev {BRIDGE}"),
    "route in a table": ("ip route add blackhole 192.0.2.0/24 table 7", "hub route added: blackhole 192.0.2.0/24"),
    "source of a route": (f"ip route change 224.0.0.0/4 dev {BRIDGE} src 10.0.0.197", "src: none → 10.0.0.197"),
    "IPv6 route": (
        "ip -6 route add 2001:db8::/64 dev lo",
        "IPv6 route added: 2001:db8::/64 dev lo metric 1024 table main",
    ),
    "rule": ("ip rule add priority 100 lookup 7", "hub rule added: 100: from all lookup 7"),
    "rule twice": (
        "ip rule add priority 32766 lookup main iif lo",
        "hub rule added: 32766: from all iif lo lookup main",
    ),
    "IPv6 rule": ("ip -6 rule add priority 100 lookup 7", "hub IPv6 rule added: 100: from all lookup 7"),
    "neighbour": (f"ip neigh add 10.0.0.77 lladdr {MAC} dev {NIC}", f"hub neighbour added: 10.0.0.77 dev {NIC}"),
    "IPv6 neighbour": (f"ip neigh add fe80::1 lladdr {MAC} dev {NIC}", f"hub neighbour added: fe80::1 dev {NIC}"),
    "forwarding entry": (f"bridge fdb add {MAC} dev {PORT} master static", f"forwarding entry added: {MAC} dev {PORT}"),
    "group": (f"bridge mdb add dev {BRIDGE} port {PORT} grp 239.1.1.1 permanent", "hub group added: dev bridge0"),
    "sysctl": ("sysctl -w net.ipv4.ip_forward=1", "hub net.ipv4.ip_forward: 0 → 1"),
    "device's sysctl": (f"sysctl -w net.ipv4.conf.{NIC}.arp_ignore=3", f"net.ipv4.conf.{NIC}.arp_ignore: 0 → 3"),
    "device's IPv6 sysctl": (f"sysctl -w net.ipv6.conf.{NIC}.accept_ra=0", f"net.ipv6.conf.{NIC}.accept_ra: 1 → 0"),
    "neighbours' sysctl": (f"sysctl -w net.ipv4.neigh.{NIC}.mcast_solicit=0", f"neigh.{NIC}.mcast_solicit: 3 → 0"),
    "firewall rule": ("IPTABLES -A INPUT -s 192.0.2.1/32 -j DROP", "INPUT: -s 192.0.2.1/32 -j DROP"),
    "firewall policy": ("IPTABLES -P FORWARD DROP", "FORWARD: policy DROP"),
    "firewall chain": ("IPTABLES -t raw -A OUTPUT -p igmp -j DROP", "raw OUTPUT: -p igmp -j DROP"),
    "IPv6 firewall rule": ("IP6TABLES -A INPUT -s 2001:db8::1/128 -j DROP", "INPUT: -s 2001:db8::1/128 -j DROP"),
    "nft rule": (
        "nft add table inet leak; nft add chain inet leak left; nft add rule inet leak left drop",
        "hub firewall rule added: nft inet leak left: drop",
    ),
    "bridge's firewall": ("EBTABLES -A FORWARD -p ARP -j DROP", "FORWARD: -p ARP -j DROP"),
    "qdisc": (f"tc qdisc add dev {NIC} root SHAPER", f"hub qdisc added: dev {NIC} root"),
    "filter": (
        f"tc qdisc add dev {PORT} clsact; tc filter add dev {PORT} ingress matchall action drop",
        f"hub filter added: dev {PORT} ingress",
    ),
}
LOADED = ("iptable_raw", "nf_tables", "nft_compat", "nf_tables_bridge", "ebtables", "ebtable_filter", "act_gact")


@pytest.fixture(scope="module")
def shaped(any_machine):
    """Modules that a guest's kernel does not find by itself."""
    if any_machine.kind == "guest":
        any_machine.call(Agent.load_modules, names=["sch_tbf", "cls_matchall", *LOADED])


def written(lab, command):
    """A command in the words of this lab and this kernel."""
    hub = lab.hub.node
    words = {
        PORT: lab.topology.ports("hub")[0],
        "SHAPER": "tbf rate 1mbit burst 10kb latency 50ms" if lab.machine.kind == "guest" else "pfifo limit 7",
    }
    if "IP6TABLES" in command:
        words["IP6TABLES"] = firewall.tool(hub, 6)
    elif "IPTABLES" in command:
        words["IPTABLES"] = firewall.tool(hub)
    words["EBTABLES"] = "ebtables"
    for word, name in words.items():
        command = command.replace(word, name)
    return command


@pytest.mark.parametrize("kind", LEAKS)
def test_what_is_left_is_named_with_what_reverts_it(kept_lab, shaped, kind):
    """A change of any kind changes the fingerprint, is one difference as text, and its command reverts it."""
    lab = kept_lab
    command, line = (written(lab, text) for text in LEAKS[kind])
    hub = lab.hub.node
    if "IPv6" in kind:
        hub.write_sysctls({f"net.ipv6.conf.{device}.disable_ipv6": 0 for device in ("lo", NIC)})
        assert hub.ask(Agent.await_entries, "addresses", usable(NIC), ADDRCONF) == []
    if "firewall" in kind:
        hub.run("sh", "-c", written(lab, "IPTABLES -L; IP6TABLES -L; ebtables -L"))  # their modules bring sysctls along
    before, mark = state.of(lab.nodes), state.fingerprint(lab.nodes)

    done = hub.run("sh", "-c", command)
    if done["status"] != 0 and any(word in done["errors"] for word in ("not supported", "Unknown", "not found")):
        pytest.skip(f"this kernel cannot: {done['errors'].strip()}")
    assert done["status"] == 0, done["errors"]
    found = differences.compared(before, state.of(lab.nodes))

    assert state.fingerprint(lab.nodes) != mark
    assert found
    assert [str(one) for one in found if line not in str(one)] == []
    for one in found:
        reverted = hub.run("sh", "-c", differences.reverting(one))
        assert reverted["status"] == 0, (differences.reverting(one), reverted["errors"])
    assert differences.compared(before, state.of(lab.nodes)) == []


def test_counters_are_no_difference(lab):
    """What packets do to counters, neighbours and learned entries is no change: nothing was configured."""
    with firewall.rules(lab.hub.node, ("INPUT", "-s", "172.16.254.0/24", "-j", "ACCEPT")):
        before, mark = state.of(lab.nodes), state.fingerprint(lab.nodes)
        with lab.listen(lab.others(lab.spokes[0])) as heard:
            lab.spokes[0].udp.send(to=lab.everyone)
        heard.exactly_once(at=heard.at)

        assert state.fingerprint(lab.nodes) == mark
        assert differences.compared(before, state.of(lab.nodes)) == []


def test_a_link_local_address_of_another_mac_is_no_difference(lab):
    """The kernel makes it from the MAC that the device has then: one that was made again is none, a missing one is."""
    hub = lab.hub.node

    def switch(**values):
        hub.write_sysctls({f"net.ipv6.conf.{NIC}.{name}": value for name, value in values.items()})

    def link_locals():
        return [one.local for one in hub.read("addresses") if (one.dev, one.scope) == (NIC, "link")]

    switch(disable_ipv6=0)
    assert hub.ask(Agent.await_entries, "addresses", usable(NIC), ADDRCONF) == []
    before, (first,), mac = state.of(lab.nodes), link_locals(), hub.link(NIC).mac

    hub.apply(link_set(NIC, address=MAC))
    switch(disable_ipv6=1)
    switch(disable_ipv6=0)
    assert hub.ask(Agent.await_entries, "addresses", usable(NIC), ADDRCONF) == []
    hub.apply(link_set(NIC, address=mac))
    (second,) = link_locals()
    assert first != second
    assert differences.compared(before, state.of(lab.nodes)) == []

    hub.run("ip", "addr", "del", f"{second}/64", "dev", NIC)
    assert [str(one) for one in differences.compared(before, state.of(lab.nodes)) if one.subject == "address"] == [
        f"hub address removed: {first}/64 dev {NIC}"
    ]


def test_of_many_differences_the_first_are_printed(lab):
    """Eight lines, and how many more there are."""
    before = state.of(lab.nodes)
    lab.hub.node.run("sh", "-c", "for n in $(seq 20); do ip rule add priority $n lookup 7; done")

    printed = differences.lines(differences.compared(before, state.of(lab.nodes)))

    assert printed[0] == "hub rule added: 1: from all lookup 7; fix: ip rule del priority 1 from all lookup 7"
    assert (len(printed), printed[-1]) == (9, "and 12 more")


def test_a_step_back_to_the_plan_is_none(lab):
    """A fault's own change may be reverted; any other change is reported."""
    planned, hub = state.of(lab.nodes), lab.hub.node
    port = lab.topology.ports("hub")[0]
    hub.apply(link_set(port, nomaster=True))
    broken = state.of(lab.nodes)

    hub.apply(link_set(port, master=lab.topology.bridge))
    hub.run("ip", "rule", "add", "priority", "100", "lookup", "7")
    found = differences.compared(broken, state.of(lab.nodes))

    assert f"hub {port} master: none → {lab.topology.bridge}" in map(str, found)
    assert [str(one) for one in differences.but_towards(planned, found)] == ["hub rule added: 100: from all lookup 7"]


def test_what_the_kernel_counts_is_none(lab):
    """Tracked connections are no change: a rule that matches their state makes the kernel track them."""
    rule = ("-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
    tool = firewall.tool(lab.hub.node)
    before, mark = state.of(lab.nodes), state.fingerprint(lab.nodes)
    assert lab.hub.node.run(tool, "-I", "INPUT", *rule)["status"] == 0
    with lab.listen([lab.hub]) as heard:
        lab.spokes[0].udp.send(to=lab.everyone)
    heard.exactly_once(["hub"])
    assert lab.hub.node.run(tool, "-D", "INPUT", *rule)["status"] == 0

    assert state.fingerprint(lab.nodes) == mark
    assert differences.compared(before, state.of(lab.nodes)) == []
