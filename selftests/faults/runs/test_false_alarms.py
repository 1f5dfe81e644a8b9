"""
A healthy lab has no finding: in every topology, kind of tunnel and cloud, every time.

    laboratory.build  -->  scene.gather  -->  explain  -->  no finding
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab import laboratory
from lab.clouds.providers import PROVIDERS, provider
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.laboratory import Lab
from lab.machines.base import Machine
from lab.model import TunnelOptions, Underlay
from lab.topology import bridged_addresses, topologies
from selftests.faults.matrix.inner import machine_for

ROUNDS = 10
VPN = (
    "ip link add tun0 type veth peer name tunp && ip link set tunp up && ip link set tun0 up",
    "ip addr add 10.8.0.2/24 dev tun0",
)
HALVES = ("0.0.0.0/1", "128.0.0.0/1")
"""How a VPN takes the default route without touching it."""
UNUSUAL = (
    ("spoke1", (*VPN, *(f"ip route add {half} dev tun0" for half in HALVES))),
    (
        "spoke1",
        (
            *VPN,
            *(f"ip route add {half} dev tun0 table 100" for half in HALVES),
            "ip route add 10.0.0.0/24 dev ens3 table 100 && ip rule add from 10.0.0.25 lookup 100",
        ),
    ),
    ("hub", ("ip link add br-lan type bridge", "ip link set br-lan up", "ip addr add 192.168.77.1/24 dev br-lan")),
    ("hub", ("iptables-legacy -A INPUT -p tcp --dport 23 -j DROP", "iptables-legacy -A INPUT -s 203.0.113.1 -j DROP")),
    ("hub", ("iptables-legacy -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",)),
    ("hub", ("ip link set bridge0 type bridge ageing_time 60000",)),
    ("spoke1", ("ip link add v0 type veth peer name v1", "ip link set v0 up", "ip addr add 192.168.5.1/24 dev v0")),
    ("spoke1", ("ip addr add 192.168.9.1/24 dev {device}", "ip addr add 10.0.0.26/24 dev ens3")),
    ("spoke1", ("tc qdisc replace dev ens3 root fq_codel", "tc qdisc replace dev {device} root fq_codel")),
    ("hub", ("ip addr add 172.16.254.100/24 dev bridge0",)),
    ("hub", ("ip link set bridge0 type bridge vlan_filtering 1",)),
    ("spoke1", ("ip link set ens3 mtu 9100",)),
    ("hub", ("bridge fdb add 02:11:22:33:44:55 dev {port} master static",)),
    ("hub", ("bridge link set dev {port} isolated on",)),  # alone it is isolated from no other
    ("spoke1", ("ip rule add uidrange 1000-2000 prohibit && ip rule add iif ens99 blackhole",)),
    ("hub", ("bridge mdb add dev bridge0 port {port} grp 239.9.9.9 permanent",)),
    ("spoke1", ("iptables -A OUTPUT -d 169.254.169.254 -m owner --uid-owner 1000 -j REJECT",)),
    (
        "spoke1",
        (
            "ip link add other type gretap local 10.0.0.25 remote 10.0.0.197 key 99 && ip link set other up",
            "ip addr add 192.168.99.1/24 dev other",
        ),
    ),
    (
        "spoke1",  # as Flannel has it
        (
            "ip link add flannel.1 type vxlan id 1 local 10.0.0.25 dev ens3 dstport 8472 nolearning",
            "ip addr add 10.244.1.0/32 dev flannel.1 && ip link set flannel.1 up",
        ),
    ),
    ("spoke1", ("ip rule add ipproto tcp tos 0x04 blackhole",)),
    ("spoke1", ("iptables -t mangle -A OUTPUT -p tcp -j DSCP --set-dscp 10",)),
    ("spoke1", ("tc qdisc add dev {device} root hfsc",)),
    (
        "spoke1",  # a host that lets in what it has to
        (
            "for p in {carrier} udp tcp icmp igmp; do iptables -A INPUT -p $p -j ACCEPT; done",
            "iptables -A INPUT -i lo -j ACCEPT && iptables -P INPUT DROP",
        ),
    ),
    ("spoke1", ("tc qdisc add dev ens3 root handle 1: htb default 9",)),
    (
        "spoke1",
        (
            "tc qdisc add dev ens3 clsact",
            "tc filter add dev ens3 ingress protocol ip flower ip_proto tcp dst_port 23 action drop",
        ),
    ),
    ("spoke1", ("ip route add blackhole 198.18.0.0/15", "ip rule add from 192.168.50.0/24 table 100 priority 1000")),
    ("spoke1", ("ip route replace multicast 224.0.0.0/4 dev {device}", "ip rule add sport 22 blackhole")),
    (
        "spoke1",  # as wg-quick has it
        (
            *VPN,
            "ip route add default dev tun0 table 51820 && ip rule add not fwmark 51820 table 51820",
            "ip rule add table main suppress_prefixlength 0",
        ),
    ),
    (
        "spoke1",
        (
            "tc qdisc add dev ens3 clsact",
            "tc filter add dev ens3 ingress matchall action police rate 5gbit burst 10mb mtu 65535 conform-exceed drop",
        ),
    ),
    ("spoke1", ("iptables -t mangle -A PREROUTING -p udp -d 172.16.254.255 -j TEE --gateway 10.0.0.1",)),
    ("spoke1", ("ip link add upper link ens3 type macvlan mode bridge", "ip link set upper up")),
    ("spoke1", ("ip link add red type vrf table 9", "ip link set red up")),
    (
        "spoke1",
        (
            "ip link add br0 type bridge && ip link set br0 up && ip link set {device} master br0",
            "ip addr del 172.16.254.2/24 dev {device} && ip addr add 172.16.254.2/24 dev br0",
            "ip route replace 224.0.0.0/4 dev br0",
        ),
    ),
    (
        "spoke1",
        (
            "nft add table inet guard",
            "nft 'add chain inet guard input {{ type filter hook input priority 0; }}'",
            "nft add rule inet guard input ip saddr 203.0.113.0/24 drop",
        ),
    ),
)


@pytest.fixture(scope="module", params=["gretap", "vxlan"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine for each kind of tunnel."""
    with machine_for(request.param) as made:
        yield made


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["machine"])


def found(lab: Lab) -> set[str]:
    """The codes of what the diagnosis finds; the lab is closed."""
    with lab:
        return {finding.code for finding in explain(scene.gather(lab))}


@pytest.mark.parametrize("cloud", [name for name, cloud in PROVIDERS.items() if not cloud.groups])
@pytest.mark.parametrize("routers", [0, 1])
@pytest.mark.parametrize("spokes", [1, 3])
def test_nothing_is_found_where_nothing_is_wrong(machine, kind, cloud, routers, spokes):
    """A standard lab on every cloud that carries its tunnels, near and far, small and large, has no finding."""
    carries = provider(cloud).gre if kind == "gretap" else provider(cloud).vxlan
    if not carries:
        pytest.skip(f"{cloud} drops what {kind} is carried in")
    plan = topologies.star(spokes, TunnelOptions(kind=kind))
    plan = topologies.routed(plan) if routers else plan

    assert found(laboratory.build(machine, plan, Underlay(provider(cloud), routers))) == set()


@pytest.mark.parametrize("options", [{"ttl": None}, {"key": 7}, {"checksum": True, "sequence": True}, {"local": False}])
def test_options_of_the_user_are_not_a_fault(machine, kind, options):
    """A lab whose tunnels are made in another way on purpose has no finding."""
    if kind != "gretap" and set(options) & {"key", "checksum", "local"}:
        pytest.skip("is about GRE")
    plan = topologies.star(2, replace(TunnelOptions(kind=kind), **options))

    assert found(laboratory.build(machine, plan, Underlay(provider("oci")))) == set()


@pytest.mark.parametrize(("node", "commands"), UNUSUAL, ids=[commands[-1] for _, commands in UNUSUAL])
def test_what_is_unusual_and_harms_nothing_is_no_fault(machine, kind, node, commands):
    """A lab with additional bridges, filters, queues, routes and addresses, all harmless, has no finding."""
    lab = laboratory.build(machine, topologies.star(2, TunnelOptions(kind=kind)), Underlay(provider("oci")))
    words = {
        "device": lab.topology.port("spoke1", "hub"),
        "port": lab.topology.port("hub", "spoke1"),
        "carrier": "gre" if kind == "gretap" else "udp",
    }
    for command in commands:
        done = lab.nodes[node].run("sh", "-c", command.format(**words))
        if done["status"] != 0:
            lab.close()
            pytest.skip(f"{command}: {done['errors'].strip() or 'not installed'}")

    assert found(bridged_addresses.with_bridges(lab)) == set()


@pytest.mark.parametrize("routers", [0, 1])
def test_of_the_articles_lab_its_own_mistakes_are_found(machine, kind, routers):
    """The article's literal set-up has findings for its errors, and no others."""
    plan = topologies.article(2, TunnelOptions(kind=kind))
    plan = topologies.routed(plan) if routers else plan
    always = {"multicast-route-narrow", "bridge-mac-not-pinned"}
    expected = {*always, "tunnel-ttl-inherit"} if routers else always

    assert found(laboratory.build(machine, plan, Underlay(provider("oci"), routers))) == expected


def test_time_after_time(machine, kind):
    """The same lab, diagnosed again and again, stays without a finding."""
    plan = topologies.star(2, TunnelOptions(kind=kind))
    with laboratory.build(machine, plan, Underlay(provider("oci"))) as lab:
        findings = [explain(scene.gather(lab)) for _ in range(ROUNDS)]

    assert findings == [()] * ROUNDS
