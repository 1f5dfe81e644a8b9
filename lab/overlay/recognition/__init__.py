"""
An overlay recognised by the state of its hosts, complete or not.

Not here: how an overlay is set up (`lab.overlay.plan`).
"""
