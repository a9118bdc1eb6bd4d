"""Deployment: a model as bytes, the predictor that answers from them, the way to an endpoint, and releases."""

from orchestrator.serving import (
    AB,
    Autoscaling,
    BlueGreen,
    Canary,
    Capture,
    Load,
    ModelCard,
    Release,
    Shadow,
    Strategy,
)
from stages.deployment.card import model_card
from stages.deployment.predictor import Predictor, model_from_payload, model_to_payload
from stages.deployment.previewing import Preview, end_preview, preview, previews
from stages.deployment.releasing import release, rollback
from stages.deployment.replaying import Replay, replay
from stages.deployment.serving import Deployment, Exercise, deploy, deploy_many, exercise, retire
from stages.deployment.soundness import check_soundness

__all__ = [
    "AB",
    "Autoscaling",
    "BlueGreen",
    "Canary",
    "Capture",
    "Deployment",
    "Exercise",
    "Load",
    "ModelCard",
    "Predictor",
    "Preview",
    "Release",
    "Replay",
    "Shadow",
    "Strategy",
    "check_soundness",
    "deploy",
    "deploy_many",
    "end_preview",
    "exercise",
    "model_card",
    "model_from_payload",
    "model_to_payload",
    "preview",
    "previews",
    "release",
    "replay",
    "retire",
    "rollback",
]
