"""Training: models whose whole state is text, with the features they were trained on."""

from stages.training.boosting import train_boosted
from stages.training.linear import train_logistic
from stages.training.model import Fitted, Model

__all__ = ["Fitted", "Model", "train_boosted", "train_logistic"]
