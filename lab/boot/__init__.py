"""
Files that set an overlay up at boot, in the syntax of the tool that a host uses: one module for each tool; and what
of an overlay the next boot makes.

Not here: the overlay's set-up by netlink (`lab.overlay`), and the options of `plan` (`lab.commands.plan`).
"""
