"""One file per codec; a new one is found by its place. See ``orchestrator.artifacts.codec`` for what a file holds."""
