"""
Faults of a host beside the overlay: its firewall, its routing, its applications, its limits.

Not here: the overlay's own devices (`lab.faults.overlay`).
"""
