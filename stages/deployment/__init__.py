"""Deployment: a model as bytes, the predictor that answers from them, the way to an endpoint, and releases."""

from orchestrator.serving import AB, BlueGreen, Canary, Handover, ModelCard, Release, Shadow, Strategy, TagMove
from stages.deployment.card import model_card
from stages.deployment.handing import hand_back, hand_over
from stages.deployment.predictor import Predictor, model_from_payload, model_to_payload
from stages.deployment.releasing import release, rollback
from stages.deployment.replaying import Replay, replay
from stages.deployment.scoring import Scored, score_staged
from stages.deployment.serving import Deployment, Exercise, deploy, exercise, retire
from stages.deployment.soundness import check_soundness

__all__ = [
    "AB",
    "BlueGreen",
    "Canary",
    "Deployment",
    "Exercise",
    "Handover",
    "ModelCard",
    "Predictor",
    "Release",
    "Replay",
    "Scored",
    "Shadow",
    "Strategy",
    "TagMove",
    "check_soundness",
    "deploy",
    "exercise",
    "hand_back",
    "hand_over",
    "model_card",
    "model_from_payload",
    "model_to_payload",
    "release",
    "replay",
    "retire",
    "rollback",
    "score_staged",
]
