"""
The commands of `./overcast`, their options and their errors.

Not here: the script that sets up `.venv` (`selftests.script`).
"""
