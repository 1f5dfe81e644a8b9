"""
Causes of losses: a trial's datagrams and the hosts' state become findings, each with its evidence and its fix.

Not here: sending and capturing (`lab.probes`), and prerequisites of a host without an overlay (`lab.checkup`).
"""
