"""Measurements against raw Ray: the same graphs, interleaved, on one cluster. Run with ``python -m benchmarks``."""
