"""Start one process for each rank, on one machine or under Slurm.

doctor.py    `make doctor`: would this run work here?
probe.py     what doctor lets every rank do: one sum over all ranks
ranks.py     start the ranks, pass signals on to them, understand how they ended
torchrun.py  torchrun that ends with the process that started it
slurm/       the batch job: doctor, training, requeue
"""
