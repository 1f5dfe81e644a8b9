"""
Overlays as graphs, and their named shapes, as data: who is joined to whom, and what may be lost.

Not here: how a shape is recognised on hosts (`lab.overlay`).
"""
