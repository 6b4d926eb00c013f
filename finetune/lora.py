"""Instruction tuning with LoRA: the base stays as it is; a small adapter comes out, and the two merged into one model."""

from collections.abc import Sequence

from finetune.settings import LoraSettings
from finetune.stage import load_data, open_upstream, plan, report, set_environment, statistics
from pipeline import cli
from pipeline.artifact import begin_artifact
from pipeline.progress import Progress, echo

RECIPE = 1
LABEL = "LoRA 学習"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage; a run file without `[lora]` does not want it."""
    arguments = cli.stage_parser("finetune.lora", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    if not run.has("lora"):
        echo(f"{LABEL}: {run.path} に [lora] がないため省略します")
        return
    settings = run.settings("lora", LoraSettings)
    if arguments.dry_run:
        echo(f"{plan(LABEL, settings)}、r={settings.rank} α={settings.alpha}")
        return
    upstream = open_upstream(run, settings)
    with begin_artifact(run, "lora", settings, upstream.inputs, recipe=RECIPE) as artifact:
        if cli.skip_if_sealed(artifact, LABEL):
            return
        set_environment()
        from finetune.adapter import check_merged, lora_config, reference_logits
        from finetune.export import export_adapter, export_model
        from finetune.tune import load_base, prepare, tune

        data = load_data(upstream, settings)
        with Progress(LABEL, 0, "ステップ", events=artifact.events) as progress:
            model = load_base(upstream.base, prepare(settings))
            adapter = lora_config(settings, model)
            tuned = tune(model, upstream.base, data, settings, work=artifact.work, progress=progress, adapter=adapter)
        export_adapter(tuned.model, artifact.data / "adapter", f"pretrain/{run.name}")
        expected = reference_logits(tuned.model, data.heldout)
        export_model(tuned.model.merge_and_unload(), upstream.base, artifact.data / "model", settings.generation)
        check_merged(artifact.data / "model", data.heldout, expected)
        report(LABEL, artifact.seal(statistics(data, tuned), licences=upstream.licences))


if __name__ == "__main__":
    cli.stage_main(main)
