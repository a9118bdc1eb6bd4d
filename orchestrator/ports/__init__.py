"""What the engine needs from the world, as Protocols, and the plain data that crosses them.

Adapters live in ``store``, ``artifacts`` and ``backends``; only ``app`` brings them together.
"""
