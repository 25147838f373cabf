"""How images become vectors. Knows nothing of the pipeline."""
