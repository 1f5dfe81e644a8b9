"""
The script `overcast`, and the installed wheel.

Not here: the commands that it starts (`selftests.commands`).
"""
