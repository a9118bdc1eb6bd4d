"""Training: models whose whole state is data, with the features they were trained on."""

from stages.training.boosting import train_boosted
from stages.training.calibration import Calibrated, calibrate
from stages.training.column_model import ColumnModel
from stages.training.cross_validation import CrossValidation, FoldScores, cross_validate
from stages.training.estimators import Trained, train_estimator
from stages.training.export import Exported, export_onnx
from stages.training.folds import make_folds
from stages.training.linear import train_logistic
from stages.training.model import Fitted, Model
from stages.training.model_file import (
    Calibrator,
    ModelFile,
    model_file_from_payload,
    model_file_to_payload,
)
from stages.training.network import train_network

__all__ = [
    "Calibrated",
    "Calibrator",
    "ColumnModel",
    "CrossValidation",
    "Exported",
    "Fitted",
    "FoldScores",
    "Model",
    "ModelFile",
    "Trained",
    "calibrate",
    "cross_validate",
    "export_onnx",
    "make_folds",
    "model_file_from_payload",
    "model_file_to_payload",
    "train_boosted",
    "train_estimator",
    "train_logistic",
    "train_network",
]
