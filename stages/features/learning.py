"""Fitting encoders on tables of any size: each part is looked at alone, and the encoder is made of what all showed.

What needs more than sums of what parts show (medians, quantiles, correlations) cannot be fitted that way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.features.categories import frequency_of, onehot_of, ordinal_of
from stages.features.counts import TextCounts, added_counts, count_texts
from stages.features.gaps import count_gaps, fill_of
from stages.features.plan import PlanStep, read_step
from stages.features.scaling import finish_scale, merge_scale, partial_scale
from stages.features.target_means import sum_targets, target_means_of
from stages.features.words import count_words, tfidf_of
from stages.transforms import Transform


@dataclass(frozen=True)
class Learner:
    """How an encoder is fitted in parts.

    Attributes:
        look: What a part shows: of the part, and those of the step's parameters that it names.
        make: The encoder: of what all parts showed, and the other parameters.
        looks_at: Parameters of ``look``; those in ``both`` are for ``make`` too.
    """

    look: Callable[..., Any]
    make: Callable[..., Transform]
    looks_at: tuple[str, ...] = ("columns",)
    both: tuple[str, ...] = ()


def _of_counts(make: Callable[..., Transform]) -> Callable[..., Transform]:
    def of_parts(parts: Sequence[TextCounts], **parameters: Any) -> Transform:
        return make(added_counts(parts), **parameters)

    return of_parts


LEARNERS: Mapping[str, Learner] = {
    "fill": Learner(count_gaps, fill_of, ("columns", "method", "values"), ("columns", "method", "values")),
    "frequency": Learner(count_texts, _of_counts(frequency_of)),
    "onehot": Learner(count_texts, _of_counts(onehot_of)),
    "ordinal": Learner(count_texts, _of_counts(ordinal_of)),
    "scale": Learner(partial_scale, lambda parts: finish_scale(merge_scale(parts)), ("columns", "method")),
    "target_means": Learner(sum_targets, target_means_of, ("columns", "target", "groups"), ("groups",)),
    "tfidf": Learner(
        count_words, tfidf_of, ("column", "longest", "buckets"), ("column", "longest", "buckets")
    ),
}  # fmt: skip
"""Steps of a plan that can be fitted in parts."""


@dataclass(frozen=True)
class Seen:
    """What one part showed to a step of a plan."""

    step: PlanStep
    showed: Any


def _learned(parts: list[Seen]) -> Transform:
    name, parameters = read_step(parts[0].step)
    learner = LEARNERS[name]
    rest = {key: value for key, value in parameters.items() if key not in learner.looks_at or key in learner.both}
    return learner.make([part.showed for part in parts], **rest)


@stage(scope="rows", merge=_learned, cache="30d", timeout="1h")
def learn(table: pa.Table, step: PlanStep) -> Seen:
    """Fit one step of a plan on a table, a stream or a list of tables, part by part.

    The result is that of the fitting function on all rows. Counts and extremes add up exactly, so it is the same to the
    last bit for ``frequency``, ``onehot``, ``ordinal``, ``tfidf``, ``scale`` by ``minmax`` or ``robust``, ``fill`` by
    ``mode``, and for ``target_means`` and means of whole numbers; sums of other numbers may differ in their last digits
    between batches of different sizes. ``TargetMeans.training``, which encodes the training rows out of fold, takes
    them in one table.

    Args:
        step: ``{"onehot": {"columns": ["carrier"]}}``, see ``LEARNERS``.

    Returns:
        The fitted ``Transform``.

    Raises:
        ConfigError: the step cannot be fitted in parts, or a parameter is not known.
        NotFound, DataRejected: as the fitting function.
    """
    name, parameters = read_step(step)
    if name not in LEARNERS:
        raise ConfigError(
            f"{name} cannot be fitted in parts; fit it on one table. These can be: {', '.join(LEARNERS)}."
        )
    learner = LEARNERS[name]
    looked = {key: value for key, value in parameters.items() if key in learner.looks_at}
    return Seen(step, learner.look(table, **looked))
