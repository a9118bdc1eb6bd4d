"""Ready stages of a machine-learning system, from raw data to a monitored deployment.

One package for each of the seven stages; ``pipelines`` composes them into whole jobs. Tables
are Arrow in and Arrow out, fitted state is a plain dataclass, and every stage is its own
function when called outside a pipeline.
"""
