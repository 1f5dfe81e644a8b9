"""
Live hosts as machines: their specifications, and connections over OpenSSH.

Not here: what is checked on them (`lab.live`).
"""
