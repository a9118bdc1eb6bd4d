"""Networks that need no code of one's own; named by their dotted names. Importing this imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class Perceptron(torch.nn.Module):  # type: ignore[misc] # PyTorch is not there where types are checked
    """Fully connected layers with ReLU between them.

    Args:
        inputs: Numbers of a row.
        outputs: Numbers that it gives for a row.
        hidden: Width of each layer between.
        dropout: Share of each hidden layer's values that is left out in training.
    """

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int] = (64,), dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        width = inputs
        for size in hidden:
            layers += [torch.nn.Linear(width, size), torch.nn.ReLU(), torch.nn.Dropout(dropout)]
            width = size
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(width, outputs))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows (rows, inputs) to (rows, outputs)."""
        return self.layers(rows)
