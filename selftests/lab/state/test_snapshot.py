"""Looking at a node: each reading shows what was put there, changes nothing, and one that is refused hides no other."""

from __future__ import annotations

import io
import re

import pytest

from lab import laboratory
from lab.agent.firewall import ebtables
from lab.errors import EnvironmentProblem
from lab.firewall.rules import FirewallRule
from lab.machines import firewall
from lab.machines.node import Agent, try_all
from lab.probes.capture import captures
from lab.probes.capture.icmp_errors import complaints
from lab.stack import snapshot
from lab.stack.changes import bridge_port, link_del
from lab.stack.records import typed

BRIDGED = """Bridge table: filter

Bridge chain: INPUT, entries: 1, policy: ACCEPT
-p ARP -j guard , pcnt = 4 -- bcnt = 168

Bridge chain: guard, entries: 0, policy: DROP
"""


def _programs(node, *commands):
    """Runs commands that a kernel may be too small for; the test is skipped where it is."""
    for command in commands:
        done = node.run(*command.split())
        if done["status"] != 0:
            pytest.skip(f"{command}: {done['errors'].strip() or 'not installed'}")


def _listed(lab, name="hub"):
    return snapshot.text(snapshot.take([lab.nodes[name]]))


class TestTheFirewall:
    """The verb `firewall`."""

    def test_shows_a_rule_with_what_it_matched(self, lab):
        """A rule is listed with its chain's hook, its verdict and its counters; a policy has no rule."""
        spoke = lab["spoke1"].node
        with firewall.rules(spoke, ("INPUT", "-p", "udp", "--dport", "9999", "-j", "DROP")):
            lab.hub.udp.send(to=lab["spoke1"].address(), port=9999)
            with lab.listen(["spoke1"]) as heard:
                lab.hub.udp.send(to=lab["spoke1"].address())
            rules = spoke.ask(Agent.firewall)

        assert heard.one(at="spoke1")
        (rule,) = [entry for entry in typed("firewall", rules) if entry.rule]
        assert rule.tool == firewall.tool(spoke)
        assert (rule.chain, rule.hook, rule.drops, rule.packets) == ("INPUT", "input", True, 1)
        assert {entry["verdict"] for entry in rules if not entry["rule"]} == {"ACCEPT"}

    def test_of_an_untouched_node_drops_nothing(self, lab):
        """No rule is read where none was added; tables that the kernel has for other nodes are empty, and accept."""
        if lab.machine.kind == "guest":  # modules are the whole kernel's: of this one they are its owner's
            lab.machine.load_modules("ebtable_filter", "ebtable_nat")

        found = lab["spoke2"].node.ask(Agent.firewall)

        assert {(entry.get("rule", ""), entry["verdict"]) for entry in found} <= {("", "ACCEPT")}

    def test_of_a_bridge_is_read_too(self, lab):
        """What ebtables filters on the hub's bridge is shown."""
        _programs(lab.hub.node, "ebtables -A FORWARD -p ARP -j DROP")

        rules = [entry for entry in lab.hub.node.ask(Agent.firewall) if entry.get("rule")]

        assert [(entry["family"], entry["chain"], entry["rule"]) for entry in rules] == [
            ("bridge", "FORWARD", "-p ARP -j DROP")
        ]

    @pytest.mark.parametrize(
        ("command", "family", "chain"),
        [
            ("arptables -A INPUT --opcode 2 -j DROP", "arp", "INPUT"),
            ("ebtables-legacy -A FORWARD -d Broadcast -j DROP", "bridge", "FORWARD"),
            ("ebtables-legacy -t nat -A PREROUTING -j dnat --to-dst 2:0:0:0:0:1", "bridge", "PREROUTING"),
        ],
    )
    def test_of_every_family_is_read(self, lab, command, family, chain):
        """Rules about ARP and those of the older ebtables are listed with their counters."""
        _programs(lab.hub.node, command)

        (rule,) = [entry for entry in typed("firewall", lab.hub.node.ask(Agent.firewall)) if entry.rule]

        assert (rule.family, rule.chain, bool(rule.drops or rule.sets("address"))) == (family, chain, True)
        assert rule.packets >= 0  # neighbours may have asked for each other meanwhile

    def test_of_nftables_is_read_where_it_is_in_use(self, lab):
        """Nft rules are listed with their policy, handle and counters, and the drops of named maps."""
        _programs(
            lab.hub.node,
            "nft add table inet guard",
            "nft add map inet guard ends { type inet_proto : verdict ; elements = { gre : drop } ; }",
            "nft add chain inet guard input { type filter hook input priority 0 ; policy drop ; }",
            "nft add rule inet guard input udp dport 4789 counter accept",
            "nft add rule inet guard input meta l4proto vmap @ends",
        )

        found = [(one.hook, one.drops, one.packets) for one in typed("firewall", lab.hub.node.ask(Agent.firewall))]

        assert found == [("input", True, None), ("input", False, 0), ("input", True, None)]

    def test_of_legacy_ebtables_is_read_from_its_listing(self):
        """Rules have their counters, and the policy of a chain that is jumped to is listed if it applies there."""
        entries = ebtables.listed(BRIDGED)

        assert [tuple(map(entry.get, ("chain", "rule", "packets", "verdict"))) for entry in entries] == [
            ("INPUT", None, None, "ACCEPT"),
            ("INPUT", "-p ARP -j guard", 4, None),
            ("guard", None, None, "DROP"),
        ]


class TestAReading:
    """The readings of a node."""

    def test_shows_what_delays_and_loses(self, lab):
        """The settings of netem are decoded into seconds, percent and bits."""
        _programs(lab.hub.node, "tc qdisc add dev ens3 root netem delay 10ms loss 5% duplicate 1% rate 10mbit")

        (netem,) = [entry for entry in lab.hub.node.read("qdiscs") if entry.kind == "netem"]

        assert netem.dev == "ens3"
        expected = {"delay": 0.01, "loss": 5.0, "duplicate": 1.0, "rate": 10_000_000}
        assert expected.items() <= netem.settings.items()
        assert "qdisc dev ens3 root netem delay 0.01" in _listed(lab)

    def test_shows_filters_with_their_actions(self, lab):
        """A tc filter is listed with its place, its match and its action."""
        port = lab.topology.port("hub", "spoke1")
        _programs(
            lab.hub.node,
            f"tc qdisc add dev {port} clsact",
            f"tc filter add dev {port} egress protocol ip flower dst_ip 239.0.0.0/8 action drop",
        )

        (found,) = lab.hub.node.read("filters")

        assert (found.dev, found.direction, found.kind) == (port, "egress", "flower")
        assert "dst_ip 239.0.0.0/8" in found.match
        assert [action["verdict"] for action in found.actions] == ["shot"]

    def test_shows_the_filters_of_the_cloud(self, lab):
        """The emulated cloud's own filters are seen as what they are."""
        kinds = {(entry.kind, entry.direction) for entry in lab.fabric.read("filters")}

        assert kinds == {("bpf", "ingress")}

    def test_shows_groups_and_routers_of_a_bridge(self, lab):
        """Ports with members, and ports behind which a router is."""
        here, there = lab.topology.ports("hub")
        _programs(
            lab.hub.node,
            "ip link set bridge0 type bridge mcast_snooping 1",
            f"bridge mdb add dev bridge0 port {here} grp 239.1.1.1 permanent",
            f"bridge link set dev {there} mcast_router 2",
        )

        assert [(entry.port, entry.group) for entry in lab.hub.node.read("mdb")] == [(here, "239.1.1.1")]
        assert lab.hub.node.read("mdb_routers") == [{"bridge": "bridge0", "port": there}]

    def test_shows_the_vlans_of_ports(self, lab):
        """VLANs are listed per port, with the one of untagged frames marked."""
        port = lab.topology.port("hub", "spoke1")
        _programs(
            lab.hub.node,
            "ip link set bridge0 type bridge vlan_filtering 1",
            f"bridge vlan add dev {port} vid 7",
        )

        vlans = [entry for entry in lab.hub.node.read("vlans") if entry.dev == port]

        assert [(entry.vid, entry.pvid) for entry in vlans] == [(1, True), (7, False)]
        assert f"VLAN vid 1 dev {port} pvid untagged\nVLAN vid 7 dev {port}\n" in _listed(lab)

    def test_shows_the_parameters_of_devices(self, lab):
        """Each device's own parameters are those that sysctl shows, read in one piece."""
        wanted = {"rp_filter": 2, "arp_ignore": 1, "forwarding": 1, "bc_forwarding": 1, "accept_local": 1}
        lab.hub.node.write_sysctls({f"net.ipv4.conf.ens3.{name}": value for name, value in wanted.items()})

        (found,) = [entry for entry in lab.hub.node.read("parameters") if entry.device == "ens3"]

        assert {name: found.ipv4[name] for name in wanted} == wanted
        assert found.ipv6["disable_ipv6"] == 1


class TestASnapshot:
    """The evidence about its nodes after a failed test."""

    def test_lists_policy_routing_and_ports(self, lab):
        """Added rules, and the flags of ports that are on."""
        port = lab.topology.port("hub", "spoke1")
        lab.hub.node.apply(bridge_port(port, bcast_flood=0, isolated=1))
        _programs(lab.hub.node, "ip rule add from 10.9.0.0/16 lookup 77 priority 500")

        listed = _listed(lab)

        assert "rule 500: from 10.9.0.0/16 lookup 77" in listed
        (flags,) = re.findall(rf"^bridge port {port} (.+)$", listed, re.MULTILINE)
        assert "isolated 1" in flags
        assert "bcast_flood" not in flags

    def test_counts_since_the_last_look(self, lab):
        """With an earlier snapshot, counters are given as far as they rose since."""
        before = snapshot.take([lab["spoke1"].node])
        with lab.listen(["spoke1"]) as heard:
            lab.hub.udp.send([b"oc:" + bytes([65 + number]) * 40 for number in range(5)], to=lab.everyone)

        listed = snapshot.activity(snapshot.take([lab["spoke1"].node]), before)

        assert len(heard.payloads["spoke1"]) == 5
        assert "IpExtInBcastPkts 5" in listed
        assert "IpDefaultTTL" not in listed

    def test_loads_nothing(self, lab):
        """Looking at every node leaves the kernel's modules as they were."""
        nodes = list(lab.nodes.values())
        before = lab.fabric.run("cat", "/proc/modules")["output"]

        snapshot.take(nodes)

        loaded = {line.split()[0] for line in lab.fabric.run("cat", "/proc/modules")["output"].splitlines()}
        assert loaded == {line.split()[0] for line in before.splitlines()}

    def test_of_a_half_built_overlay_shows_what_there_is(self, lab):
        """A missing device does not prevent the rest from being listed."""
        lab.hub.node.apply(link_del("bridge0"))
        lab["spoke1"].node.apply(link_del(lab.topology.port("spoke1", "hub")))

        listed = snapshot.text(snapshot.take(lab.nodes.values()))

        assert all(f"=== {name} ===" in listed for name in lab.nodes)
        assert "link bridge0 " not in listed

    def test_is_taken_of_a_lab_that_could_not_be_built(self, any_machine, lab, monkeypatch):
        """The state of the nodes is taken before they are removed, and the failure is still raised."""

        def never(*_):
            raise EnvironmentProblem("it did not come up")

        monkeypatch.setattr(laboratory, "require_settled", never)
        taken = []

        with pytest.raises(EnvironmentProblem, match="it did not come up"):
            laboratory.build(
                any_machine,
                lab.topology,
                lab.underlay,
                failed=lambda half: taken.append(snapshot.take(half.nodes.values())),
            )

        assert "bridge0" in snapshot.text(taken[0])

    def test_names_what_could_not_be_read(self, lab):
        """A reading that the kernel rejects is listed with the reason; the next one is taken."""
        node = lab.hub.node

        refused, made = try_all(
            [(node, node.call(Agent.read, what="tea_leaves")), (node, node.call(Agent.read, what="links"))]
        )

        assert refused[0] is None
        assert "tea_leaves" in str(refused[1])
        assert made[1] is None
        assert "not read: links: no rights" in snapshot.text({"hub": {"unread": {"links": "no rights"}}})

    def test_names_the_firewall_that_needs_root(self):
        """An active firewall that cannot be read is named in the configuration."""
        guarded = FirewallRule("nft", "", "", unread="needs root")

        assert "nft: not read: needs root" in snapshot.text({"hub": {"firewall": [guarded]}})


class TestFramesOfAFailure:
    """What captures leave behind."""

    def test_open_in_other_programs(self, lab):
        """The capture file has each frame with its time, its interface and its direction."""
        scapy = pytest.importorskip("scapy.utils")
        lab.forget()
        with lab.listen(["hub"]):
            lab["spoke1"].udp.send(to=lab.everyone)
        seen = lab.frames()

        packets = list(scapy.PcapNgReader(io.BytesIO(captures.pcapng(seen, len(seen)))))

        assert [bytes(packet) for packet in packets] == [sighting.frame for sighting in seen]
        assert all(abs(float(packet.time) - one.time / 1e9) < 1e-5 for packet, one in zip(packets, seen, strict=True))
        assert str(packets[0].sniffed_on) == f"{seen[0].node} {seen[0].interface}"

    def test_say_when_they_are_not_all(self, lab):
        """Of too many frames the file holds the last ones, and its comment states that there were more."""
        scapy = pytest.importorskip("scapy.utils")
        lab.forget()
        with lab.listen(["hub"]):
            lab["spoke1"].udp.send(to=lab.everyone)
        seen = lab.frames()

        file = captures.pcapng(seen, 1)

        assert [bytes(packet) for packet in scapy.PcapNgReader(io.BytesIO(file))] == [seen[-1].frame]
        assert f"the last 1 of {len(seen)} frames".encode() in file

    def test_tell_which_icmp_errors_came_back(self, lab):
        """A rejected datagram is listed with the rejecting host and its addresses."""
        lab.forget()
        with lab.listen(["hub"]):
            lab["spoke1"].udp.send(to=lab.hub.address("overlay"), port=9)

        listed = complaints(lab.frames())

        hub, spoke = lab.hub.address("overlay"), lab["spoke1"].address("overlay")
        assert any(
            f"{hub} to {spoke}: destination unreachable (port), about {spoke} > {hub} UDP" in line for line in listed
        )
