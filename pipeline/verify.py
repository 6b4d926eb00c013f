"""`make verify`: hash every file of every artifact of a run, and check that the chain of digests between stages holds."""

from collections.abc import Sequence

from pipeline import cli
from pipeline.artifact import Manifest, open_sealed
from pipeline.errors import CorruptArtifact, MissingInput
from pipeline.files import short_digest
from pipeline.progress import echo


def main(argv: Sequence[str] | None = None) -> None:
    """Open whole every sealed artifact of the run.

    Raises: CorruptArtifact on the first file or link that does not hold; MissingInput if nothing is sealed.
    """
    run = cli.open_run(cli.stage_parser("pipeline.verify", __doc__ or "").parse_args(argv))
    sealed: dict[str, Manifest] = {}
    for path in sorted(run.artifacts.glob(f"*/{run.name}/manifest.json")):
        stage = path.parent.parent.name
        sealed[stage] = open_sealed(path.parent, verify_all=True)
        echo(f"{stage}: {len(sealed[stage].body['files'])} 個のファイルが封印時と一致 ({sealed[stage].short})")
    if not sealed:
        raise MissingInput(f"{run.artifacts}: no sealed artifact of run {run.name!r}; make one with `make all RUN={run.name}`")
    for stage, manifest in sealed.items():
        for name, digest in manifest.inputs.items():
            if name in sealed and sealed[name].digest != digest:
                raise CorruptArtifact(
                    f"{manifest.root}: made from {name} {short_digest(digest)}, but {sealed[name].root} now is "
                    f"{sealed[name].short}; `make clean-{stage} RUN={run.name}` and make it again"
                )


if __name__ == "__main__":
    cli.stage_main(main)
