"""
Connections to kernels: this one, a guest's, a live host's over SSH; the choice between them, and their nodes.

Not here: code that runs on the far side (`lab.agent`), and what is built on it (`lab.underlay`, `lab.overlay`).
"""
