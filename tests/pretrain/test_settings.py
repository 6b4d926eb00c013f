"""The [pretrain] table: what is refused, and what is said."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import fingerprint
from pipeline.errors import ConfigError
from pretrain.__main__ import main
from pretrain.settings import Parallel, PretrainSettings
from tests.helpers import run_file
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import SHAPE, VOCABULARY, tiny

TABLE = """
[pretrain]
iterations = 6
seq_length = 24
global_batch = 4
[pretrain.optimizer]
warmup = 2
[pretrain.model]
layers = 2
hidden = 32
heads = 4
kv_groups = 2
ffn = 48
"""


def test_defaults(tmp_path: Path) -> None:
    settings = run_file(tmp_path, TABLE).settings("pretrain", PretrainSettings)
    assert (settings.samples, settings.model.head_dim, settings.parallel.processes) == (24, 8, 1)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pretrain.seqlen=2", "unknown key 'seqlen'; did you mean 'seq_length'?"),
        ("pretrain.model.head=4", "unknown key 'head'; did you mean 'heads'?"),
        ("pretrain.parallel.data=3", "global_batch = 4 must be a multiple of parallel.micro_batch * parallel.data = 3"),
        ("pretrain.parallel.tensor=3", "model.heads = 4 must be a multiple of parallel.tensor = 3"),
        ("pretrain.parallel.tensor=4", "model.kv_groups = 2 must be a multiple of parallel.tensor = 4"),
        ("pretrain.parallel.pipeline=4", "model.layers = 2 must be a multiple of parallel.pipeline * parallel.virtual = 4"),
        ("pretrain.parallel.virtual=2", "it needs pipeline > 1"),
        ("pretrain.ramp_up.start=2", "give all three, or none"),
        ("pretrain.guard.spike=0.5", "spike 0 or above 1"),
        ("pretrain.parallel.sequence=true", "it needs tensor > 1"),
        ("pretrain.model.hidden=36", "hidden = 36 must be a multiple of 2 * heads = 8"),
        ("pretrain.model.kv_groups=3", "heads = 4 must be a multiple of kv_groups = 3"),
        ("pretrain.optimizer.warmup=6", "optimizer.warmup = 6 must be below iterations = 6"),
        ("pretrain.optimizer.min_lr=1.0", "min_lr = 1.0 <= lr"),
        ("pretrain.iterations=0", "must be at least 1"),
        ("pretrain.precision=fp8", "expected one of ['auto', 'fp32', 'bf16'], got 'fp8'"),
        ("pretrain.weights.a=-1", "weights must be finite and >= 0"),
    ],
)
def test_refused_in_one_line(tmp_path: Path, override: str, said: str) -> None:
    run = run_file(tmp_path, TABLE)
    arguments = ["--run", str(run.path), "--artifacts", str(run.artifacts), "--dry-run", "--set", override]
    with pytest.raises(ConfigError) as caught:
        main(arguments)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_dry_run_needs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_file(tmp_path, TABLE)
    main(["--run", str(run.path), "--artifacts", str(run.artifacts), "--dry-run", "--set", "pretrain.parallel.pipeline=2"])
    assert "2 層・幅 32" in (said := capsys.readouterr().out) and "2 プロセス" in said and "計 576" in said
    assert not run.artifacts.exists()


def test_layout_is_no_part_of_the_identity() -> None:
    layouts = [Parallel(micro_batch=2), Parallel(tensor=2, sequence=True), Parallel(data=2, launcher=("srun",), gpu=False)]
    assert len({fingerprint(tiny(layout), {}, 1) for layout in layouts}) == 1
    assert fingerprint(tiny(seed=1), {}, 1) != fingerprint(tiny(seed=2), {}, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, r"model\.layers = 2 must be a multiple of parallel\.pipeline \* parallel\.virtual = 4"),
        ({"layers": 4, "batch": 6}, r"global_batch = 6 .* \* parallel\.pipeline \(interleaved\) = 4"),
    ],
)
def test_interleaved_stages_need_layers_and_micro_batches(changes: dict[str, int], said: str) -> None:
    import dataclasses

    shape = dataclasses.replace(SHAPE, layers=changes.get("layers", 2))
    with pytest.raises(ValueError, match=said):
        tiny(Parallel(pipeline=2, virtual=2, micro_batch=2), model=shape, global_batch=changes.get("batch", 4))


def counted(shape: dict[str, Any]) -> tuple[int, int]:
    """Weights as the settings count them and as megatron has them, the vocabulary being full."""
    import dataclasses

    from pretrain.model.build import build_bare_model
    from pretrain.runtime import start

    settings: Any = tiny(model=dataclasses.replace(SHAPE, vocab_multiple=1, **shape))
    start(settings.parallel, 1)
    model = build_bare_model(settings, "fp32", VOCABULARY)
    return settings.model.parameters(VOCABULARY, settings.seq_length), sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shape", [{}, {"architecture": "gpt2", "kv_groups": 4}], ids=["llama", "gpt2"])
def test_parameters_are_counted_right(shape: dict[str, Any], tied: bool) -> None:
    ((said, real),) = run_ranks(1, counted, shape | {"tied": tied})
    assert said == real
