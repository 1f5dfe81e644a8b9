"""
Frames of a node's interfaces, captured by the kernel into memory.

Not here: what the frames mean: that is decided where they are judged (`lab.probes.capture`).
"""
