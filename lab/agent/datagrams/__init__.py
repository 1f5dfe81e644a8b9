"""
Sockets in nodes: what they send, one datagram or a load, and what they receive.

Not here: frames on interfaces (`lab.agent.capture`).
"""
