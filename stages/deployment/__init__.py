"""Deployment: a model as bytes, the predictor that answers from them, the way to an endpoint, and releases."""

from orchestrator.serving import AB, BlueGreen, Canary, Release, Shadow, Strategy
from stages.deployment.predictor import Predictor, model_from_payload, model_to_payload
from stages.deployment.releasing import release, rollback
from stages.deployment.replaying import Replay, replay
from stages.deployment.serving import Deployment, Exercise, deploy, exercise, retire

__all__ = [
    "AB",
    "BlueGreen",
    "Canary",
    "Deployment",
    "Exercise",
    "Predictor",
    "Release",
    "Replay",
    "Shadow",
    "Strategy",
    "deploy",
    "exercise",
    "model_from_payload",
    "model_to_payload",
    "release",
    "replay",
    "retire",
    "rollback",
]
