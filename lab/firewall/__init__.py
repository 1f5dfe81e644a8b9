"""
The rules of hosts' firewalls, read once: what they match and do, and what becomes of a packet.

Not here: reading them from a host (`lab.agent`), and which of them is a cause (`lab.diagnose.rules`).
"""
