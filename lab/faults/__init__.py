"""
Faults on purpose: what breaks an overlay in practice, as data.

Not here: what finds them (`lab.diagnose`), and which tests they fail (`selftests/faults`).
"""
