"""What a pipeline is: stages, tracing, the graph and its facts; standard library only."""
