"""Resolves a name by multicast DNS, and prints its address: find.py NAME (RFC 6762 section 5.1)."""

import socket
import struct
import sys

GROUP, PORT, WITHIN = "224.0.0.251", 5353, 3.0  # seconds
name = sys.argv[1]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
question = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)  # type A, class IN
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout(WITHIN)
asking.sendto(question, (GROUP, PORT))
answer = asking.recv(1500)
print(f"{name} is {socket.inet_ntoa(answer[-4:])}")
