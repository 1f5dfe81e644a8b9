"""
How much an overlay carries: rates, delays of joins and leaves, and how many groups.

Not here: the process that sends as fast as it can (`lab.agent.datagrams`).
"""
