"""Kinds of triggers: each module here is one, see ``ports.triggers.Trigger``."""
