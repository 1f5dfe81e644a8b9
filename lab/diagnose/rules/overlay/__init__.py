"""
Rules of tunnels and hubs: what hosts are to each other on the overlay.

Not here: what a host lets in by itself (`lab.diagnose.rules.host`).
"""
