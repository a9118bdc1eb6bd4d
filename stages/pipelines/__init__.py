"""Whole jobs composed from the stages; each is named by a file in ``configs/``."""
