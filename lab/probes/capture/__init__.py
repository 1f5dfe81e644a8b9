"""
Captured frames taken apart: what a probe's packets looked like, and where they were seen.

Not here: the captures themselves (`lab.agent.capture`).
"""
