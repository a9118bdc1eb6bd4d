"""What makes pipelines run by themselves: ``@pipeline(on=[cron("0 2 * * *"), artifact("features"), webhook("x")])``."""

from orchestrator.triggers.kinds.artifact import artifact
from orchestrator.triggers.kinds.cron import cron
from orchestrator.triggers.kinds.webhook import webhook

__all__ = ["artifact", "cron", "webhook"]
