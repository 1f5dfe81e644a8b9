"""
Readings of a network stack: each queries the kernel and changes nothing.

Not here: changes (`lab.agent.changes`), and firewalls (`lab.agent.firewall`).
"""
