"""
Tests of the project itself, which `./overcast test` runs.

Not here: conformance tests, which judge an overlay (`tests`).
"""
