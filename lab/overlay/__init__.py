"""
The overlay on its hosts: how it is set up, read back from their state, and put into commands.

Not here: the cloud's network below it (`lab.underlay`), and the kinds of tunnel (`lab.tunnels`).
"""
