"""
What the doctor examines on live hosts and between them, each check with its fix.

Not here: causes of losses on an overlay, which are findings (`lab.diagnose`).
"""
