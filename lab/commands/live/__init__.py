"""
What commands ask of live hosts (`--hosts=`).

Not here: the arguments of the commands.
"""
