"""
The syntax of each tool that makes an overlay at boot: one module for each tool.

Not here: what is the same whatever the tool (`lab.boot.common`).
"""
