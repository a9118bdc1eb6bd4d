"""What notebooks show: pictures of runs and all that belongs to them, and the progress of a run in one display."""
