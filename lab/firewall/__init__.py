"""The rules of hosts' firewalls, read once: what they match and do, and what becomes of a packet."""
