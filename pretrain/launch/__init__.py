"""Starting ranks on this machine or under Slurm, and checking beforehand that they would work."""
