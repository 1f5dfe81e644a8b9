"""
The options of the README, each with a run of the suite.

Not here: options that other selftests run (`ELSEWHERE`).
"""
