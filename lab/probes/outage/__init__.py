"""
A numbered stream of datagrams, and what each receiver missed of it.

Not here: the causes of an outage (`lab.diagnose`).
"""
