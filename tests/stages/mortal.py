"""A network that kills its process once, in the middle of a training."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch


class Mortal(torch.nn.Module):
    """Dies at the given forward pass of a training, where ``scar`` does not say that it has."""

    def __init__(self, inputs: int, outputs: int, scar: str, passes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(inputs, 8)
        self.dropped = torch.nn.Dropout(dropout)
        self.last = torch.nn.Linear(8, outputs)
        self.scar = Path(scar)
        self.left = passes

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows to logits."""
        self.left -= self.training
        if self.training and not self.left and not self.scar.exists():
            self.scar.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.last(self.dropped(self.hidden(rows).relu()))
