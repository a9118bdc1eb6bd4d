"""A table of prices: what an hour of each resource costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Prices:
    """What an hour costs: of a CPU, of a GiB of memory, of a GPU; ``gpus`` by ``accelerator_type``."""

    currency: str = "USD"
    cpu: float = 0.04
    memory: float = 0.005
    gpu: float = 1.0
    gpus: Mapping[str, float] = field(default_factory=dict)

    def of_gpu(self, accelerator: str | None) -> float:
        """Of a kind of GPU."""
        return self.gpus.get(accelerator or "", self.gpu)
