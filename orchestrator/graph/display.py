"""How objects show themselves in notebooks, without knowing what draws them.

Whatever notebooks show is a ``Shown``. The package root, which knows the notebook layer, hands it what draws; it is
loaded when a notebook first asks for a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol


class Watch(Protocol):
    """Shows the progress of one run while somebody waits for it."""

    def look(self) -> None:
        """Show the run as it is by now, if it is time to; called often, and never raises."""
        ...

    def close(self) -> None:
        """Show the run as it was left."""
        ...


class Shown:
    """A value with a picture in notebooks.

    Attributes:
        bundle: Draws a value: texts by media type. Set by the package root.
        watcher: Opens what shows the progress of a run, where there is a notebook to show it in, or ``anywhere``: then
            on standard error otherwise. Set by the package root.
    """

    __slots__ = ()

    bundle: ClassVar[Callable[[Any], Mapping[str, str]] | None] = None
    watcher: ClassVar[Callable[[Any, bool], Watch | None] | None] = None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {} if Shown.bundle is None else dict(Shown.bundle(self))

    def _repr_html_(self) -> str | None:
        return self._repr_mimebundle_().get("text/html")
