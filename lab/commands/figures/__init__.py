"""
The figures of `overcast load`: how they are measured, and how they are printed.

Not here: its arguments (`lab.commands.load`).
"""
