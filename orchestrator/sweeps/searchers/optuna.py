"""Search by Optuna (TPE): later points come from where earlier ones did well."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from orchestrator.ports.tune import Choice, Mode, Point, Space


class OptunaSearcher:
    """See ``ports.tune.Searcher``. Values of lists are known to Optuna by their place, so they may be anything."""

    adaptive = True

    def __init__(self, spaces: Mapping[str, Space], mode: Mode, seed: int) -> None:
        self._spaces = spaces
        self._distributions = {name: _distribution(space) for name, space in spaces.items()}
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=5)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize" if mode == "max" else "minimize", sampler=sampler)
        self._asked: dict[int, optuna.Trial] = {}

    def suggest(self, trial: int) -> Point | None:
        """See ``Searcher``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ranges that their step does not divide
            asked = self._asked[trial] = self._study.ask(self._distributions)
        return {name: self._value(name, asked.params[name]) for name in self._spaces}

    def tell(self, trial: int, value: float | None) -> None:
        """See ``Searcher``."""
        asked = self._asked.pop(trial)
        if value is None or value != value:
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, value)

    def recall(self, point: Point, value: float | None) -> None:
        """See ``Searcher``; what failed, or is no number, teaches nothing."""
        if value is None or value != value:
            return
        params = {name: self._known(name, point[name]) for name in self._spaces}
        self._study.add_trial(optuna.trial.create_trial(params=params, distributions=self._distributions, value=value))

    def _known(self, name: str, value: object) -> object:
        space = self._spaces[name]
        return space.values.index(value) if isinstance(space, Choice) else value

    def _value(self, name: str, suggested: object) -> object:
        space = self._spaces[name]
        return space.values[int(str(suggested))] if isinstance(space, Choice) else suggested


def create(spaces: Mapping[str, Space], mode: Mode, seed: int) -> OptunaSearcher:
    """A searcher over these spaces."""
    return OptunaSearcher(spaces, mode, seed)


def _distribution(space: Space) -> BaseDistribution:
    if isinstance(space, Choice):
        return CategoricalDistribution(range(len(space.values)))
    if space.whole:
        step = 1 if space.log else int(space.step) or 1
        return IntDistribution(int(space.low), int(space.high), log=space.log, step=step)
    return FloatDistribution(space.low, space.high, log=space.log, step=None if space.log else space.step or None)
