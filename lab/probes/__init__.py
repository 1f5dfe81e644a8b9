"""
Stimuli with unique payloads, the sockets that receive them, and the captures that follow them.

Not here: why a packet was lost (`lab.diagnose`).
"""
