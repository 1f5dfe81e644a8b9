"""
`overcast watch`: rounds of datagrams between live hosts, the losses among them, and what is reported of them.

Not here: sockets (`lab.probes`), and why something was lost (`lab.diagnose`).
"""
