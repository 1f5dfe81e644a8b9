"""
Every fault of the catalogue, several at a time: what it turns red, what is found, what corrects it.

Not here: faults beside the catalogue (`selftests.faults.broken_labs`).
"""
