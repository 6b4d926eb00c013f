"""The arithmetic of a run, held against models that are really built: weights, operations, saved activations, checkpoints."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from pretrain import cost
from pretrain.settings import Adam, Parallel, Precision, PretrainSettings, Shape
from tests.pretrain.helpers.ranks import run_ranks

VOCABULARY = 250
LLAMA = Shape(layers=4, hidden=64, heads=8, kv_groups=4, ffn=160, tied=False, vocab_multiple=8)
GPT2 = Shape(layers=4, hidden=64, heads=8, kv_groups=8, ffn=256, architecture="gpt2", vocab_multiple=8)
SHAPES = {"llama": LLAMA, "llama_tied": dataclasses.replace(LLAMA, tied=True), "gpt2": GPT2}
LAYOUTS = {
    "one": Parallel(),
    "tensor": Parallel(tensor=2),
    "pipeline": Parallel(pipeline=2),
    "both": Parallel(tensor=2, pipeline=2, sequence=True),
}


def settings_of(shape: Shape, parallel: Parallel | None = None, seq_length: int = 128, **changes: Any) -> PretrainSettings:
    return PretrainSettings(
        iterations=8,
        seq_length=seq_length,
        global_batch=8,
        model=shape,
        optimizer=Adam(warmup=1),
        parallel=parallel or Parallel(),
        **changes,
    )


def weights_here(settings: PretrainSettings) -> tuple[int, int]:
    """The stage of this rank, and how many weights it really holds."""
    from megatron.core import parallel_state as ps

    from pretrain import runtime
    from pretrain.model import build

    runtime.start(settings.parallel, 1)
    bare = build.build_bare_model(settings, "fp32", VOCABULARY)
    return ps.get_pipeline_model_parallel_rank(), sum(p.numel() for p in bare.parameters())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_rank_holds_as_many_weights_as_counted(shape: Shape, layout: Parallel) -> None:
    settings = settings_of(shape, layout)
    for stage, held in run_ranks(layout.processes, weights_here, settings):
        assert cost.weights_per_rank(settings, VOCABULARY, stage) == held


def work_of(settings: PretrainSettings, precision: Precision, like_a_gpu: bool) -> tuple[int, int]:
    """Operations of forward and backward as torch counts them, and bytes saved between them; logits summed, no loss.

    Args:
        like_a_gpu: keep what the CUDA kernels keep: of a norm input and output, of SwiGLU input and output, of attention no
            weights.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from pretrain import runtime
    from pretrain.model import attention, build, onednn

    runtime.start(settings.parallel, 1)
    if like_a_gpu:
        attention.DENSE_UP_TO, onednn.is_supported = 0, lambda kind: False
    if like_a_gpu and settings.model.architecture == "llama":  # GPT-2's kernels keep the same everywhere
        torch.compiler.set_stance("force_eager")  # what megatron compiles keeps the same, and compiling takes half a minute
        config_of = build.transformer_config
        build.transformer_config = lambda *a: dataclasses.replace(config_of(*a), bias_activation_fusion=True)
        layer_norm: Any = torch.nn.functional.layer_norm
        torch.nn.RMSNorm.forward = lambda self, x: layer_norm(x, self.normalized_shape, self.weight)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    bare = build.build_bare_model(settings, precision, VOCABULARY).to(kind)
    for parameter in bare.parameters():
        parameter.main_grad = torch.zeros_like(parameter)  # pyright: ignore[reportAttributeAccessIssue] - megatron's name
    own = {p.untyped_storage().data_ptr() for p in bare.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    batch = torch.randint(VOCABULARY, (settings.parallel.micro_batch, settings.seq_length))
    positions = torch.arange(settings.seq_length).expand_as(batch)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        bare(batch, positions, None)
    saved = sum(storage.nbytes() for storage in kept.values())
    counted = {torch.ops.mkldnn._linear_pointwise: lambda a, b, *rest, **more: 2 * math.prod(a) * b[0]}
    # MATH is the only backend of a CPU that is counted.
    with FlopCounterMode(display=False, custom_mapping=counted) as counter, sdpa_kernel(SDPBackend.MATH):
        bare(batch, positions, None).float().sum().backward()
    return counter.get_total_flops(), saved


@pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_operations_are_those_that_torch_counts(shape: Shape) -> None:
    settings = settings_of(shape)
    ((found, _),) = run_ranks(1, work_of, settings, "fp32", False)
    rows = shape.embedding_rows(VOCABULARY)
    assert found == cost.flops_per_token(shape, settings.seq_length, rows) * settings.seq_length


@pytest.mark.parametrize("like_a_gpu", [True, False], ids=["gpu", "cpu"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("seq_length", [128, 320])  # one block of attention, and two and a half
@pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_a_layer_keeps_as_many_bytes_as_counted(shape: Shape, seq_length: int, precision: Precision, like_a_gpu: bool) -> None:
    """What two more layers keep, within half a hundredth: statistics of the norms, a few bytes a token, are not counted."""
    two, four = (settings_of(dataclasses.replace(shape, layers=layers), seq_length=seq_length) for layers in (2, 4))
    saved = [run_ranks(1, work_of, settings, precision, like_a_gpu)[0][1] for settings in (two, four)]
    counted = cost.activation_bytes_per_layer(four, precision, gpu=like_a_gpu)
    assert 1.0 <= (saved[1] - saved[0]) / 2 / counted < 1.005
