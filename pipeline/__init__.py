"""What the stages share, and nothing else: run files, artifacts, shards, progress, errors, compiled kernels.

Importing this package loads no heavy library; `pipeline.shards` is the only file that imports ray, `pipeline.compiled` numba.
"""
