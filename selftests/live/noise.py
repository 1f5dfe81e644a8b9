"""
What else happens on a production host, in the network stack that this is started in: traffic, members, taken ports.

    python noise.py DEVICE OWN PEER BROADCAST UNDERLAY_OWN UNDERLAY_PEER

It prints READY once everything runs, and goes on until its standard input ends.
"""

from __future__ import annotations

import ipaddress
import secrets
import select
import socket
import struct
import subprocess
import sys

TAKEN = (5005, 5007)
JOINED = ("224.1.1.1", "224.0.0.251", "239.192.1.1", "232.1.1.1")
CHATTER, STREAM = 5006, 5008  # ports
FOREIGN = "198.51.100.7"
PERIOD = 0.01  # seconds between two of each kind
PINGS = "0.005"


def arp_request(mac: bytes, own: str, wanted: str) -> bytes:
    """A request for the MAC address of an IP address (RFC 826)."""
    asked = (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + socket.inet_aton(own) + bytes(6) + socket.inet_aton(wanted)
    )
    return b"\xff" * 6 + mac + b"\x08\x06" + asked


def foreign_datagram(mac: bytes, to: str) -> bytes:
    """A broadcast whose source is in another network: a reverse path filter drops it, and counts that."""
    datagram = struct.pack("!HHHH", CHATTER, CHATTER, 8, 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
    head += socket.inet_aton(FOREIGN) + socket.inet_aton(to)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return b"\xff" * 6 + mac + b"\x08\x00" + head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + datagram


def members(own: str) -> list[socket.socket]:
    """Programs that are members of groups, and that have ports for themselves."""
    made = []
    for port in TAKEN:
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken.bind(("", port))
        for group in JOINED:
            taken.setsockopt(
                socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(own)
            )
        made.append(taken)
    return made


def main(device: str, own: str, peer: str, broadcast: str, underlay_own: str, underlay_peer: str) -> None:
    kept = members(own)
    pings = [
        subprocess.Popen(["ping", "-q", "-i", PINGS, to], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for to in (peer, underlay_peer)
    ]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    server = socket.create_server((own, STREAM))
    streams: list[socket.socket] = []
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((device, 0))
    mac = raw.getsockname()[4]
    foreign = foreign_datagram(mac, broadcast)
    network = ipaddress.ip_network(f"{broadcast}/24", strict=False)
    sys.stdout.write("READY\n")
    sys.stdout.flush()
    try:
        while not select.select([sys.stdin], [], [], PERIOD)[0]:
            data = secrets.token_bytes(200)
            for to in (broadcast, *JOINED, peer, underlay_peer):
                sender.sendto(data, (to, CHATTER))
            # a closed port, so that ICMP errors are returned
            sender.sendto(data, (underlay_peer, 9))
            raw.send(foreign)
            raw.send(arp_request(mac, own, str(network[secrets.randbelow(50) + 150])))
            if select.select([server], [], [], 0)[0]:
                streams.append(server.accept()[0])
            if not streams or secrets.randbelow(10) == 0:
                again = socket.socket()
                again.setblocking(False)
                again.connect_ex((peer, STREAM))
                streams.append(again)
            for stream in streams[-4:]:
                try:
                    stream.setblocking(False)
                    stream.send(data)
                    stream.recv(1 << 16)
                except OSError:
                    pass
            while len(streams) > 8:
                streams.pop(0).close()
    finally:
        for ping in pings:
            ping.kill()
            ping.wait()
        del kept


if __name__ == "__main__":
    main(*sys.argv[1:])
