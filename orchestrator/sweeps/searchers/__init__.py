"""Searchers: one file each, found by its name; ``create(spaces, mode, seed)`` gives a ``ports.tune.Searcher``."""
