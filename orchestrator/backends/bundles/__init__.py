"""The bundle worker and its pool: one worker, one pool, several transports."""
