"""Settings of the process that training on a CPU makes."""

import sys
from pathlib import Path

import pytest
import torch

from pretrain import runtime
from tests.pretrain.helpers.ranks import run_ranks

MIB = 2**20


def resident() -> int:
    """Bytes of memory that this process holds."""
    (line,) = [line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def given_back() -> tuple[int, int]:
    """Bytes that leave this process as 256 MiB are freed: as glibc does it by itself, then after `reuse_freed_memory` twice."""
    found = []
    for keep in (False, True):
        if keep:
            runtime.reuse_freed_memory()
            runtime.reuse_freed_memory()
        tensor = torch.ones(256 * MIB, dtype=torch.uint8)
        before = resident()
        del tensor
        found.append(before - resident())
    return found[0], found[1]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, and glibc's mallopt")
def test_freed_memory_is_kept() -> None:
    ((alone, kept),) = run_ranks(1, given_back)
    assert alone > 200 * MIB
    assert kept < 50 * MIB
