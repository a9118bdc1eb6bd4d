"""Tags of triggered runs: the trigger's id, the moment in UTC, and in words what happened."""

from typing import Final

TAG: Final = "trigger"
AT_TAG: Final = "trigger.at"
WHAT_TAG: Final = "trigger.what"
