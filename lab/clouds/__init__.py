"""
The clouds as data: what their networks carry, how a host in one is recognised, and their own commands.

Not here: the emulated cloud network (`lab.underlay`).
"""
