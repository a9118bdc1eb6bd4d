"""Why an attempt failed, as facts hold it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, as the worker described it: text only, nothing to unpickle.

    Attributes:
        classes: Paths (``module:qualname``) of the exception's class and its bases, most derived first.
        frames: ``file:line in function`` of the user's frames, innermost last.
        charged: False if the death of a worker or node is to blame: that has its own budget.
    """

    classes: tuple[str, ...]
    message: str
    frames: tuple[str, ...] = ()
    charged: bool = True

    @property
    def name(self) -> str:
        """Short name of the exception's class."""
        return self.classes[0].rpartition(":")[2] if self.classes else "Error"
