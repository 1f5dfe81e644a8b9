"""
Files that hold what a diagnosis read, so that a colleague can explain a run without its hosts.

Not here: the rules that explain it (`lab.diagnose`), and the commands (`lab.commands`).
"""
