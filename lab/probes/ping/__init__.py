"""
Echo requests (ping): who answers, and how long the answer takes.

Not here: UDP (`lab.probes.listening`).
"""
