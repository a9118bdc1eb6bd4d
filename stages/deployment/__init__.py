"""Deployment: a model as bytes, the predictor that answers from them, the way to an endpoint, and releases."""

from orchestrator.serving import (
    AB,
    Autoscaling,
    BlueGreen,
    Canary,
    Capture,
    Handover,
    Load,
    ModelCard,
    Preview,
    Release,
    Shadow,
    Strategy,
    TagMove,
)
from stages.deployment.card import model_card
from stages.deployment.handing import hand_back, hand_over
from stages.deployment.predictor import Predictor, model_from_payload, model_to_payload
from stages.deployment.previewing import end_preview, preview, previews
from stages.deployment.releasing import release, rollback
from stages.deployment.replaying import Replay, replay
from stages.deployment.scoring import Scored, score_staged
from stages.deployment.serving import Deployment, Exercise, deploy, deploy_many, deploy_versions, exercise, retire
from stages.deployment.soundness import check_soundness

__all__ = [
    "AB",
    "Autoscaling",
    "BlueGreen",
    "Canary",
    "Capture",
    "Deployment",
    "Exercise",
    "Handover",
    "Load",
    "ModelCard",
    "Predictor",
    "Preview",
    "Release",
    "Replay",
    "Scored",
    "Shadow",
    "Strategy",
    "TagMove",
    "check_soundness",
    "deploy",
    "deploy_many",
    "deploy_versions",
    "end_preview",
    "exercise",
    "hand_back",
    "hand_over",
    "model_card",
    "model_from_payload",
    "model_to_payload",
    "preview",
    "previews",
    "release",
    "replay",
    "retire",
    "rollback",
    "score_staged",
]
