"""
Guest kernels as machines: how one is booted, and the line that connects to it.

Not here: when a guest is needed (`lab.machines.choose`).
"""
