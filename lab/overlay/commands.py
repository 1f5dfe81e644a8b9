"""
The overlay as shell commands: those of iproute2 that create one part of it again.

A finding prints them as its fix, so each is complete: nothing in capitals to fill in.
"""

from __future__ import annotations

from collections.abc import Collection

from lab import tunnels
from lab.model import IPV6_LEAST_MTU, NodePlan, Topology, mac_of
from lab.overlay.recognition.readback import Device
from lab.stack.records import ANY_MAC

IPV4_LEAST_REASSEMBLED = 576  # octets that every host accepts (RFC 791)


def parameters(topology: Topology, node: NodePlan, peer: str) -> str:
    """The parameters of a host's end of its tunnel to another, from its kind on."""
    kind, number = tunnels.kind(topology.options.kind), topology.tunnel(node.name, peer).number
    far = "" if node.holder == "mesh" else topology.node(peer).endpoint
    return f"type {kind.name} {kind.words(node.endpoint, far, node.nic, number, topology.options)}"


def tunnel(topology: Topology, node: NodePlan, peer: str, mac: str = "") -> str:
    """Makes a host's end of its tunnel to another, with all that stands on it; `mac` empty leaves it to the kernel."""
    device = topology.port(node.name, peer)
    steps = [f"ip link add {device} {_known(node, mac)}{parameters(topology, node, peer)}", joined(node, device)]
    if node.holder == "mesh":
        steps += flooding(topology, node)
    if node.holder == "prp":
        steps.append(over_both(topology, node))
    elif not node.is_hub:
        steps.append(placed(topology, node))
    return " && ".join(steps)


def _known(node: NodePlan, mac: str = "") -> str:
    """The MAC address with which a tunnel's end is made; both legs of a PRP device have one."""
    shared = mac_of(node.overlay.ip) if node.holder == "prp" else mac
    return f"address {shared} " if shared else ""


def flooding(topology: Topology, node: NodePlan) -> list[str]:
    """Adds all other hosts to the flood list of a host."""
    peers = [topology.node(name).endpoint for name in topology.peers(node.name)]
    return [f"bridge fdb append {ANY_MAC} dev {node.device} dst {to}" for to in peers]


def joined(node: NodePlan, port: str) -> str:
    """Brings a tunnel's end up, where it belongs."""
    if node.holder == "bond":  # which takes no device that is up
        return f"ip link set {port} master {node.device} && ip link set {port} up"
    master = f" master {node.device}" if node.device != port and node.holder != "prp" else ""
    return f"ip link set {port} up{master}{_split(node, port)}"


def over_both(topology: Topology, node: NodePlan) -> str:
    """Makes the bond or the PRP device over the tunnels of a host; a PRP device takes them when it is made only."""
    device, ports = node.device, topology.ports(node.name)
    if node.holder == "bond":
        steps = [
            f"ip link add {device} address {mac_of(node.overlay.ip)} mtu {topology.mtu} type bond mode active-backup",
            watching(topology, node),
            *(f"ip link set {port} down && ip link set {port} master {device}" for port in ports),
        ]
    else:
        legs = " ".join(f"slave{number} {port}" for number, port in enumerate(ports, 1))
        # it is gone by itself when it has no tunnel any more
        steps = [f"{{ ip link del {device} 2>/dev/null; ip link add {device} type hsr {legs} proto 1; }}"]
        steps += [f"ip link set {device} mtu {topology.mtu}"] if topology.mtu else []
    return " && ".join([*steps, f"ip link set {device} up", placed(topology, node)])


def watching(topology: Topology, node: NodePlan) -> str:
    """Lets a bond ask every hub by ARP whether it is there."""
    hubs = ",".join(hub.address() for hub in topology.hubs)
    return f"ip link set {node.device} type bond arp_interval {topology.arp_interval} arp_ip_target {hubs}"


def whole(topology: Topology, node: NodePlan, there: Collection[str]) -> str:
    """Makes a host's part of the overlay, a bridge that it is to have and its ends of tunnels; `there` are devices."""
    ports = {topology.port(node.name, peer): peer for peer in topology.peers(node.name)}
    if node.holder in ("bond", "prp"):
        lacking = {port: peer for port, peer in ports.items() if port not in there}
        ends = [f"ip link add {port} {_known(node)}{parameters(topology, node, to)}" for port, to in lacking.items()]
        return " && ".join([*ends, *(f"ip link set {port} up" for port in ports), over_both(topology, node)])
    bridge = node.device if node.holder == "bridge" else ""
    steps = [f"ip link add {bridge} type bridge"] if bridge and bridge not in there else []
    for port, peer in ports.items():
        if bridge and port in there:
            steps.append(f"ip link set {port} up master {bridge}{_split(node, port)}")
        else:
            steps.append(tunnel(topology, node, peer))
    return " && ".join([*steps, *([f"ip link set {bridge} up"] if bridge else []), placed(topology, node)])


def _split(node: NodePlan, port: str) -> str:
    return f" && bridge link set dev {port} isolated on" if node.isolated else ""


def again(topology: Topology, node: NodePlan, peer: str, device: Device) -> str:
    """Replaces a host's end of its tunnel to another, which is `device`; the MAC stays, as other hosts may know it."""
    mac = device.mac if device.kind in tunnels.KINDS else ""
    return f"ip link del {device.name} && {tunnel(topology, node, peer, mac)}"


def placed(topology: Topology, node: NodePlan) -> str:
    """Gives the node its overlay address, and routes multicast to the overlay."""
    return f"ip addr replace {node.overlay} dev {node.device} && {route(topology, node)}"


def placed_outside(node: NodePlan) -> str:
    """Gives the node's NIC the address that it has from the cloud, and the default route."""
    return f"ip addr replace {node.underlay} dev {node.nic} && {default_route(node)}"


def default_route(node: NodePlan) -> str:
    """Routes what is not known to the cloud's router, which is the first address of every subnet."""
    return f"ip route replace default via {node.underlay.network.network_address + 1} dev {node.nic}"


def path_mtu(address: str, nic_mtu: int) -> str:
    """
    Finds the largest packet that reaches an address, by halving: a ping of each size that must not be fragmented.

    It needs no ICMP error.  tracepath(8) does, so it measures nothing where larger packets are dropped silently.
    """
    least, headers = (IPV6_LEAST_MTU, 48) if ":" in address else (IPV4_LEAST_REASSEMBLED, 28)
    ping = f"ping -qc1 -W1 -Mdo -s$s {address} >/dev/null 2>&1"
    return (
        f"lo={least - headers} hi={nic_mtu - headers + 1}; while [ $lo -lt $((hi-1)) ]; do s=$(((lo+hi)/2)); "
        f"{ping} && lo=$s || hi=$s; done; echo $((lo+{headers}))    "
        f"# run it on the sender: prints the path MTU ({least}: no ping is answered)"
    )


def route(topology: Topology, node: NodePlan) -> str:
    """Routes multicast to the overlay."""
    return f"ip route replace {topology.multicast_route} dev {node.device}"
