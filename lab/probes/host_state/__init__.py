"""
What the kernels of hosts hold while they are probed: memberships, lists of members, neighbours, ports in use.

Not here: their configuration (`lab.stack`).
"""
