"""Joins a group, says `ready`, and prints what it hears: subscriber.py GROUP PORT."""

import socket
import sys

group, port = sys.argv[1], int(sys.argv[2])
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
heard.bind(("", port))
# 0.0.0.0: by the routing table, whose multicast route leads to the overlay
heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("0.0.0.0"))
print("ready", flush=True)
while True:
    print(f"heard {heard.recv(1500).decode()}", flush=True)
