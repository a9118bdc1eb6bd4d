"""Guards, one file for each kind; see ``serving.guard`` for what such a file has to bring."""
