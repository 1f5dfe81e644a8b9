"""
Overlays as graphs, and their named shapes, as data: the hosts, the tunnels that join them, and what may be lost.

Not here: how a shape is recognised on hosts (`lab.overlay`).
"""
