"""Overcast's laboratory: machines, cloud network, overlay, probes and diagnosis, usable without pytest."""
