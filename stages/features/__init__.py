"""Features: encoders and plans whose fitted state is an artifact, the same for training and for serving."""

from stages.features.categories import (
    Frequency,
    Hashed,
    OneHot,
    Ordinal,
    fit_frequency,
    fit_hashed,
    fit_onehot,
    fit_ordinal,
)
from stages.features.dates import DateParts, fit_dates
from stages.features.document import encoding_from_document, encoding_to_document
from stages.features.embeddings import Embedding, embed, fit_embedding
from stages.features.encoders import UNSEEN, Calendar, Category, Features, Number, assembled
from stages.features.fitting import fit_features, transform
from stages.features.history import add_lags, add_rolling, join_asof
from stages.features.keys import KeyStatistics, aggregate, fit_key_statistics
from stages.features.learning import LEARNERS, learn
from stages.features.plan import FITTERS, FeaturePlan, Planned, fit_plan
from stages.features.scaling import (
    Scale,
    ScaleState,
    finish_scale,
    fit_scale,
    learn_scale,
    merge_scale,
    partial_scale,
)
from stages.features.selection import Selection, fit_selection, mutual_information
from stages.features.target_means import TargetMeans, fit_target_means
from stages.features.vectors import Vector, fit_vector
from stages.features.words import Tfidf, fit_tfidf
from stages.transforms import Numbers, Transform, fit_numbers

__all__ = [
    "FITTERS",
    "LEARNERS",
    "UNSEEN",
    "Calendar",
    "Category",
    "DateParts",
    "Embedding",
    "FeaturePlan",
    "Features",
    "Frequency",
    "Hashed",
    "KeyStatistics",
    "Number",
    "Numbers",
    "OneHot",
    "Ordinal",
    "Planned",
    "Scale",
    "ScaleState",
    "Selection",
    "TargetMeans",
    "Tfidf",
    "Transform",
    "Vector",
    "add_lags",
    "add_rolling",
    "aggregate",
    "assembled",
    "embed",
    "encoding_from_document",
    "encoding_to_document",
    "finish_scale",
    "fit_dates",
    "fit_embedding",
    "fit_features",
    "fit_frequency",
    "fit_hashed",
    "fit_key_statistics",
    "fit_numbers",
    "fit_onehot",
    "fit_ordinal",
    "fit_plan",
    "fit_scale",
    "fit_selection",
    "fit_target_means",
    "fit_tfidf",
    "fit_vector",
    "join_asof",
    "learn",
    "learn_scale",
    "merge_scale",
    "mutual_information",
    "partial_scale",
    "transform",
]
