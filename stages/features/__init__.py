"""Features: encoders whose fitted state is an artifact, the same for training and for serving."""

from stages.features.encoders import UNSEEN, Calendar, Category, Features, Number, assembled
from stages.features.fitting import fit_features, transform

__all__ = ["UNSEEN", "Calendar", "Category", "Features", "Number", "assembled", "fit_features", "transform"]
