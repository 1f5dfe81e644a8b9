"""
The commands that a shell's script runs at boot, as far as that is certain: grammar, evaluation, programs.

Not here: what the commands make of an overlay (`lab.agent.boot.files`).
"""
