"""
The rules: each looks at the scene and yields what is wrong, where, by what evidence, and the command that corrects it.

A module gives its rules as `RULES = (rule, ...)` and is found by itself.  A rule speaks only of what it has seen; what
no rule explains is told by `explain.whereabouts` as the place where it died.
"""
