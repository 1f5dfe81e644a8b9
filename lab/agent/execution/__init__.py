"""
Programs that the agent runs inside a node, with their input and output.

Not here: processes of the agent's own (`lab.agent.datagrams`, `lab.agent.changes`).
"""
