"""
The lab that `overcast up` keeps: the process that holds it, and how commands reach it.

Not here: labs that last as long as one command.
"""
