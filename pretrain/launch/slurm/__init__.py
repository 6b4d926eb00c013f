"""Training under Slurm.

pretrain.sbatch  the batch script to submit
__main__.py      what it runs on the first node: doctor, training, requeue
"""
