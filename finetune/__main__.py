"""Instruction tuning of all weights: the exported model and instruction data in, a chatting model out."""

from collections.abc import Sequence

from finetune.settings import FinetuneSettings
from finetune.stage import load_data, open_upstream, plan, report, set_environment, statistics
from pipeline import cli
from pipeline.artifact import begin_artifact
from pipeline.progress import Progress, echo

RECIPE = 1
LABEL = "追加学習"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    arguments = cli.stage_parser("finetune", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("finetune", FinetuneSettings)
    if arguments.dry_run:
        echo(plan(LABEL, settings))
        return
    upstream = open_upstream(run, settings)
    with begin_artifact(run, "finetune", settings, upstream.inputs, recipe=RECIPE) as artifact:
        if cli.skip_if_sealed(artifact, LABEL):
            return
        set_environment()
        from finetune.export import export_model
        from finetune.tune import load_base, prepare, tune

        data = load_data(upstream, settings)
        with Progress(LABEL, 0, "ステップ", events=artifact.events) as progress:
            model = load_base(upstream.base, prepare(settings))
            tuned = tune(model, upstream.base, data, settings, work=artifact.work, progress=progress)
        export_model(tuned.model, upstream.base, artifact.data / "model", settings.generation)
        report(LABEL, artifact.seal(statistics(data, tuned), licences=upstream.licences))


if __name__ == "__main__":
    cli.stage_main(main)
