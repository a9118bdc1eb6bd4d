"""Many small models behind one address: those that are asked for are built, and the ones used last stay.

A request names its model in its path, ``/models/NAME`` below the application's or the version's, or in a header. One
model behind an address is the same with one that has no name.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from orchestrator.backends.serve_answer import Answer, predict, predict_all, refused
from orchestrator.backends.serve_choice import MODELS
from orchestrator.ports.serving import Predictor

MODEL_HEADER = "X-Model"

ONLY = ""
"""Name of the model of a version that has one."""

_SHOWN = 5


def model_in(path: str) -> str | None:
    """The model that a path names, without slashes around it; None if it names none."""
    name = path.removeprefix(f"{MODELS}/")
    return name if name not in ("", path) else None


class Models:
    """Predictors by name. Thread-safe; one that is being built keeps nobody waiting who asks another.

    Args:
        sources: What builds each of them.
        most: How many are kept at a time.
    """

    def __init__(self, sources: Mapping[str, Callable[[], Predictor]], most: int) -> None:
        self._sources = sources
        self._most = most
        self._lock = threading.Lock()
        self._building = {name: threading.Lock() for name in sources}
        self._built: OrderedDict[str, Predictor] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    @property
    def built(self) -> list[str]:
        """Names of those that are kept now, the one used last at the end."""
        with self._lock:
            return list(self._built)

    def answer(self, name: str, bodies: Sequence[bytes]) -> list[Answer]:
        """Answer requests to one model, together; 404 if there is none of that name."""
        if name not in self._sources:
            return [refused(404, self._unknown(name))] * len(bodies)
        try:
            predictor = self._predictor(name)
        except Exception as error:
            message = f"the model {name!r} could not be built: {type(error).__name__}: {error}"
            return [refused(500, message)] * len(bodies)
        return predict_all(predictor, bodies) if len(bodies) > 1 else [predict(predictor, body) for body in bodies]

    def answer_all(self, asked: Sequence[tuple[str, bytes]]) -> list[Answer]:
        """Answer requests to several models: those to one of them together."""
        places: dict[str, list[int]] = {}
        for place, (name, _) in enumerate(asked):
            places.setdefault(name, []).append(place)
        answers: dict[int, Answer] = {}
        for name, some in places.items():
            answers.update(zip(some, self.answer(name, [asked[place][1] for place in some]), strict=True))
        return [answers[place] for place in range(len(asked))]

    def load(self, name: str) -> None:
        """Build a model before it is asked for; raises whatever is wrong with it."""
        self._predictor(name)

    def _predictor(self, name: str) -> Predictor:
        with self._building[name]:
            with self._lock:
                found = self._built.get(name)
                if found is not None:
                    self._built.move_to_end(name)
                    return found
            built = self._sources[name]()
            with self._lock:
                self._built[name] = built
                while len(self._built) > self._most:
                    self._built.popitem(last=False)
            return built

    def _unknown(self, name: str) -> str:
        names = sorted(self._sources)
        if names == [ONLY]:
            return f"there is one model here, and it is not called {name!r}; leave out path and {MODEL_HEADER}"
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        if name == ONLY:
            return f"say which model is asked, by {MODELS}/NAME in the path or header {MODEL_HEADER}; there are {shown}"
        return f"there is no model {name!r} here; there are {shown}"
