"""Train the model of a run on its packed corpus with megatron-core, and export it for Hugging Face."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.artifact import Manifest, begin_artifact, open_sealed
from pipeline.errors import ConfigError
from pipeline.files import short_digest
from pipeline.progress import Progress, echo
from pretrain.hf import load
from pretrain.launch import ranks
from pretrain.settings import PretrainSettings
from pretrain.train import metrics

RECIPE = 2  # bump by hand when code changes what bytes come out

ARCHITECTURE_NAMES = {"llama": "Llama", "gpt2": "GPT-2"}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, export, seal."""
    arguments = cli.stage_parser("pretrain", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("pretrain", PretrainSettings)
    metrics.check_packages(settings.logging)
    if arguments.dry_run:
        echo(plan(settings))
        return
    tokenizer, pack = open_sealed(run.root("tokenizer")), open_sealed(run.root("pack"))
    check_inputs(tokenizer, pack, settings)
    inputs = {"pack": pack.digest, "tokenizer": tokenizer.digest}
    inputs |= load.start_inputs(settings, tokenizer.data, run.root("pretrain") / "start.json")
    licences = [*pack.body["licences"], *load.start_licences(settings)]
    with begin_artifact(run, "pretrain", settings, inputs, recipe=RECIPE) as artifact:
        if cli.skip_if_sealed(artifact, "事前学習"):
            return
        stats = ranks.run_training(artifact, settings.parallel, ranks.stage_options(arguments))
        if stats is None:
            echo("事前学習を中断しました。同じコマンドで続きから再開します。")
            return
        with Progress("モデルの書き出し", 1, "個", events=artifact.events) as progress:
            difference = export(settings, artifact.root, tokenizer.data, pack.data)
            progress.update(largest_logit_difference=difference)
        artifact.seal(stats, licences=licences)
        echo_scores(stats["valid"])


def plan(settings: PretrainSettings) -> str:
    """What the stage would do, in one line."""
    shape, layout = settings.model, settings.parallel
    return (
        f"事前学習: {shape.layers} 層・幅 {shape.hidden} の {ARCHITECTURE_NAMES[shape.architecture]} 型モデルを"
        f" {settings.iterations:,} 回 × {settings.global_batch} 系列 × {settings.seq_length} トークン"
        f" (計 {settings.samples * settings.seq_length:,})、{layout.processes} プロセスで学習します"
    )


def check_inputs(tokenizer: Manifest, pack: Manifest, settings: PretrainSettings) -> None:
    """Raises: ConfigError if the tokens are of another tokenizer, or the weights name sources that are not packed."""
    if pack.inputs["tokenizer"] != tokenizer.digest:
        raise ConfigError(
            f"{pack.root}: packed with tokenizer {short_digest(pack.inputs['tokenizer'])} "
            f"(vocabulary {pack.stats['vocab_size']}), "
            f"but {tokenizer.root} is {tokenizer.short} (vocabulary {tokenizer.stats['vocab_size']}); "
            f"`make clean-pack` and pack again"
        )
    if odd := sorted(settings.weights.keys() - pack.stats["sources"].keys()):
        raise ConfigError(f"[pretrain.weights]: {odd} are not packed; known: {sorted(pack.stats['sources'])}")


def export(settings: PretrainSettings, root: Path, tokenizer_data: Path, pack_data: Path) -> float:
    """Write data/hf; torch and megatron are loaded here, not before."""
    with warnings.catch_warnings(action="ignore"):  # megatron: what it does without NVIDIA's extensions
        from pretrain.export import export_newest

        return export_newest(settings, root / "checkpoints", tokenizer_data, pack_data, root / "data" / "hf")


def echo_scores(valid: Mapping[str, Mapping[str, Any]]) -> None:
    """Bits per byte of each source and of all, each beside its baseline."""
    for name, row in valid.items():
        said = f"bits/byte {row['bits_per_byte']:.3f} (ユニグラム基準 {row['unigram_bits_per_byte']:.3f})"
        echo(f"検証 {said}" if name == "total" else f"  {name}: {said}  {row['bytes']:,} バイト")


if __name__ == "__main__":
    cli.stage_main(main)
