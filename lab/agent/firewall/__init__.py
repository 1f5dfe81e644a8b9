"""
The firewalls of a stack: which are in use, and their rules as they are.

Not here: what a rule would do with a packet (`lab.firewall`).
"""
