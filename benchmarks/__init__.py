"""The targets of the engine, measured: every row beside raw Ray or an ideal, in one run. ``python -m benchmarks``."""
