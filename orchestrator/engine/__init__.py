"""The engine: a pure machine that decides, and one driver that acts.

``state`` folds facts, ``frontier`` knows what may start, ``machine`` turns what workers and people
say into facts, ``planner`` makes bundles, ``driver`` is the one loop, ``recovery`` brings a run back.
"""
