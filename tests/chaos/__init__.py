"""Real faults on a real Ray cluster of several nodes, with evidence from outside: ``python -m tests.chaos --help``."""
