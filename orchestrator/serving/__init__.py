"""Releases: how traffic moves to a new version of a model, what watches it, and what brings it back.

Pure: strategies and guards are values, the controller (``advance``) turns a state and what is seen into the next state
and instructions. Whoever drives it has the clock, the router and the journal.
"""

from orchestrator.graph.handover import Handover, TagMove
from orchestrator.ports.capture import Capture
from orchestrator.ports.serving import Autoscaling, Load
from orchestrator.ports.traffic import ClientTally, OutcomeTally, Tally
from orchestrator.serving.batches import StagedScoring, staged_scoring
from orchestrator.serving.card import CardBin, CardData, CardScore, CardSlice, ModelCard
from orchestrator.serving.carry import Carrier, failed_at_start, send_back, without_another
from orchestrator.serving.conditions import Condition
from orchestrator.serving.preview import PREFIX as PREVIEW_PREFIX
from orchestrator.serving.preview import Preview, end_preview_on, plain_name, previews_on
from orchestrator.serving.record import Release, release_from_json
from orchestrator.serving.release import Finish, Instruction, Observation, SetTraffic, Transition, advance
from orchestrator.serving.state import ReleaseState, begin, state_from_json
from orchestrator.serving.strategy import (
    AB,
    BlueGreen,
    Canary,
    Shadow,
    Strategy,
    strategy_from_json,
    strategy_to_json,
)

__all__ = [
    "AB",
    "PREVIEW_PREFIX",
    "Autoscaling",
    "BlueGreen",
    "Canary",
    "Capture",
    "CardBin",
    "CardData",
    "CardScore",
    "CardSlice",
    "Carrier",
    "ClientTally",
    "Condition",
    "Finish",
    "Handover",
    "Instruction",
    "Load",
    "ModelCard",
    "Observation",
    "OutcomeTally",
    "Preview",
    "Release",
    "ReleaseState",
    "SetTraffic",
    "Shadow",
    "StagedScoring",
    "Strategy",
    "TagMove",
    "Tally",
    "Transition",
    "advance",
    "begin",
    "end_preview_on",
    "failed_at_start",
    "plain_name",
    "previews_on",
    "release_from_json",
    "send_back",
    "staged_scoring",
    "state_from_json",
    "strategy_from_json",
    "strategy_to_json",
    "without_another",
]
