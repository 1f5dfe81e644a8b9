"""
Rules of single hosts: what each is, does and lets in by itself.

Not here: what hosts are to each other on the overlay (`lab.diagnose.rules.overlay`).
"""
