"""
The commands of `python -m lab`, which ./overcast leads to: one module each, with `SUMMARY`, `arguments` and `run`.

What they have in common: usage errors end with status 2, everything else that keeps a command from doing its work
with status 1, both with one message on stderr and never a traceback.
Not here: what pytest and a REPL use too; a command only reads arguments, calls and prints.
"""
