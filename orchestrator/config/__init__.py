"""What people configure: the ``ORC_*`` variables, and pipeline files in YAML with their overrides."""
