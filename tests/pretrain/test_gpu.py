"""The same stage on a CUDA device: bf16, variable-length flash attention."""

import shutil
from pathlib import Path

import pytest

from pipeline.artifact import Manifest, open_sealed
from pipeline.runfile import RunFile
from pretrain.__main__ import main
from tests.helpers import run_file
from tests.pretrain.test_stage import TABLE


@pytest.mark.gpu
def test_trains_in_bf16(packed: tuple[RunFile, Manifest], tmp_path: Path) -> None:
    run = run_file(tmp_path, TABLE.replace('precision = "fp32"', 'precision = "auto"').replace("heads = 4", "heads = 2"))
    for stage in ("tokenizer", "pack"):
        shutil.copytree(packed[0].root(stage), run.root(stage))
    main(["--run", str(run.path), "--artifacts", str(run.artifacts)])
    stats = open_sealed(run.root("pretrain")).stats
    assert stats["precision"] == "bf16" and stats["skipped_iterations"] == 0
    assert stats["valid"]["total"]["bits_per_byte"] < stats["valid"]["total"]["unigram_bits_per_byte"]
