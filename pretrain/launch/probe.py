"""One rank of `make doctor`: joins the others as training does and takes part in one sum. Not started by hand."""

import argparse
import os
import time
from datetime import timedelta
from pathlib import Path

from pipeline.files import write_json
from pretrain.process import end_with_parent

NUMBERS = 1 << 22  # 16 MiB of fp32
TIMES = 5
MINUTES = 2  # a rank that is not there by then does not come


def main() -> None:
    """Sum over all ranks; rank 0 writes how fast, to the path that is the only argument."""
    parser = argparse.ArgumentParser(prog="python -m pretrain.launch.probe", description=__doc__)
    parser.add_argument("result", type=Path, help="JSON file that rank 0 writes")
    result: Path = parser.parse_args().result
    end_with_parent()
    import torch
    import torch.distributed as dist

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(minutes=MINUTES))
    rank, world = dist.get_rank(), dist.get_world_size()
    part = torch.full((NUMBERS,), rank + 1.0, device="cuda" if gpu else "cpu")
    dist.all_reduce(part)
    expected = world * (world + 1) / 2
    if not bool((part == expected).all()):
        raise SystemExit(f"Error: rank {rank}: the sum over {world} ranks is {part[0].item()}, not {expected}")
    began = time.perf_counter()
    for _ in range(TIMES):
        dist.all_reduce(part)
    part[0].item()  # waits for the device
    each = (time.perf_counter() - began) / TIMES
    if rank == 0:
        # Bus bandwidth of a ring, as nccl-tests counts it: each rank sends and takes 2 (n - 1) / n of the data.
        rate = 4 * NUMBERS * 2 * (world - 1) / world / each
        told = {"ranks": world, "backend": dist.get_backend(), "bytes_per_second": rate}
        write_json(result, told)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
