"""Runs under every fault that a seed can draw: the real driver over virtual time, a faulty store and faulty workers.

``simulate(seed)`` runs one seed and raises when a promise of durability is broken; ``explore`` visits every order in
which two drivers can act. From a shell: ``python -m orchestrator.testing.simulator --seed N --trace``.
"""

from orchestrator.testing.simulator.clockwork import Stuck
from orchestrator.testing.simulator.interleavings import Visited, explore
from orchestrator.testing.simulator.search import Failure, run_seeds, shrink
from orchestrator.testing.simulator.simulation import Broken, Simulation, simulate

__all__ = ["Broken", "Failure", "Simulation", "Stuck", "Visited", "explore", "run_seeds", "shrink", "simulate"]
