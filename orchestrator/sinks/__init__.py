"""Runs in the words of other tools: traces, lineage, experiments; see ``ports.sinks`` for what a sink is told."""
