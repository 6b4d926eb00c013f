"""Training under Slurm: the batch script, and what it runs on the first node."""
