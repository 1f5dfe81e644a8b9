"""
Overlays as data, as labs that are built, and as configuration that is read back.

Not here: what they deliver (`selftests.lab.probes`).
"""
