"""Real programs that use broadcast and multicast, run in the nodes of a lab: one file for each application."""
