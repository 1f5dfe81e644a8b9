"""Faults on purpose: what breaks an overlay in practice, as data."""
