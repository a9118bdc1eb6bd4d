"""What a bundle needs of the worker that runs it."""

from __future__ import annotations

from orchestrator.backends.bundles.transport import WorkerKind, WorkerNeeds
from orchestrator.graph.policy import Resources
from orchestrator.ports.executor import Bundle
from orchestrator.types import Digest

LASTING_USES = frozenset({"serving"})
"""Other parts of the engine start processes and objects that end with the worker that started them."""


def kind_of(bundle: Bundle) -> WorkerKind:
    """The kind of worker that runs it."""
    if bundle.host:
        return "host"
    return "heavy" if bundle.heavy is not None or bundle.isolated or bundle.uses else "pool"


def needs_of(bundle: Bundle, capsule: Digest) -> WorkerNeeds:
    """The worker it gets, for the code of its run."""
    kind = kind_of(bundle)
    if kind != "heavy":
        return WorkerNeeds(kind, capsule)
    resources = bundle.heavy or Resources()
    lasting = resources.nothing and not bundle.isolated and set(bundle.uses) <= LASTING_USES
    return WorkerNeeds(kind, capsule, resources, bundle.uses, lasting)
