"""
What runs on the machine: the standard library and pyroute2, nothing else of ours.

One agent process serves every node (network stack) of its kernel.  `service.serve(channel)` is its main loop.
Not here: decisions about an overlay, which the controller makes (`lab.overlay`, `lab.diagnose`).
"""
