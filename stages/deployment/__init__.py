"""Deployment: a model as bytes, the predictor that answers from them, and the way to a served endpoint."""

from stages.deployment.predictor import Predictor, model_from_payload, model_to_payload
from stages.deployment.serving import Deployment, Exercise, deploy, exercise

__all__ = ["Deployment", "Exercise", "Predictor", "deploy", "exercise", "model_from_payload", "model_to_payload"]
