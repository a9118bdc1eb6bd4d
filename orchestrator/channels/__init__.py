"""Channels that bring alerts to people, one file for each kind; see ``ports.alerts.Channel`` for what a file holds."""
