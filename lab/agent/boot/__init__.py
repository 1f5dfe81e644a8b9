"""
What the next boot of a host makes of its network, read from the host's files.

Not here: whether that is enough for an overlay (`lab.checkup`).
"""
