"""What a step hands over: tags that move in the transaction of its outcome, all of them or none of the facts.

A step with ``effects=True`` that returns a ``Handover`` moves tags. So what a name stands for changes exactly when the
step is finished, however often its body ran, and whoever resumes the run goes on between one step and the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TagMove:
    """A tag that goes from one version of a name to another.

    Attributes:
        before: Number of the version that has it; if another one has it by then, it stays there, for somebody decided
            later. None if no version has it.
        after: Number of the version that gets it; None to take it away.
    """

    name: str
    tag: str
    before: int | None
    after: int | None

    @property
    def back(self) -> TagMove:
        """The same the other way."""
        return TagMove(self.name, self.tag, self.after, self.before)

    def __str__(self) -> str:
        before, after = ("nothing" if number is None else f"v{number}" for number in (self.before, self.after))
        return f"{self.name}@{self.tag} from {before} to {after}"


@dataclass(frozen=True, slots=True)
class Handover:
    """Tags that moved together with the requests of an application.

    Attributes:
        app: The application.
        why: What brought it about.
    """

    app: str
    moves: list[TagMove] = field(default_factory=list)
    why: str = ""


HANDOVER = f"{Handover.__module__}:{Handover.__qualname__}"
"""How stored values name the class."""
