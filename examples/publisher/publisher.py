"""Sends a message to a group: publisher.py GROUP PORT MESSAGE."""

import socket
import sys

group, port, message = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
sender.sendto(message.encode(), (group, port))
