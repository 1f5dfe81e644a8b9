"""
Overcast's laboratory: machines, cloud network, overlay, probes and diagnosis, usable without pytest.

Not here: pytest's options and fixtures (`fixtures`), and what a run writes (`reports`).
"""
