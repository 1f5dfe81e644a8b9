"""Joins a group, prints `ready`, and prints each datagram: subscriber.py GROUP PORT."""

import socket
import sys

group, port = sys.argv[1], int(sys.argv[2])
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("", port))
# 0.0.0.0: the routing table chooses the interface; its multicast route points to the overlay
receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("0.0.0.0"))
print("ready", flush=True)
while True:
    print(f"received {receiver.recv(1500).decode()}", flush=True)
