"""Publish a sealed model on the Hugging Face Hub; without --confirm, only say what would be uploaded."""

from collections.abc import Sequence

from pipeline import cli
from pipeline.progress import echo
from publish.chain import open_chain
from publish.plan import Plan, make_plan
from publish.settings import PublishSettings


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage; it makes no artifact."""
    parser = cli.stage_parser("publish", __doc__ or "")
    parser.add_argument("--confirm", action="store_true", help="really upload (token: HF_TOKEN or `hf auth login`)")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("publish", PublishSettings)
    if arguments.dry_run:
        echo(f"公開: {settings.stage} を {settings.repo_id} ({_visibility(settings.private)}) へ")
        return
    plan = make_plan(open_chain(run, settings.stage), settings)
    show(plan)
    if not arguments.confirm:
        echo("何も送信していません。公開するには --confirm (make publish CONFIRM=1) を付けてください。")
        return
    from publish.hub import Hub

    published = Hub(settings).publish(plan)
    echo(f"公開しました: {published.url}" if published.changed else f"すでに公開済みで、変更はありません: {published.url}")
    for branch, commit in published.commits.items():
        echo(f"  {branch}: {commit}")


def show(plan: Plan) -> None:
    """Say where everything would go."""
    tag = f"、タグ {plan.tag}" if plan.tag else ""
    echo(f"公開先: {plan.repo_id} ({_visibility(plan.private)})、ブランチ {'、'.join(plan.branches)}{tag}")
    echo(f"コミット: {plan.message}")
    for upload in plan.uploads:
        echo(f"  {upload.size:>13,}  {upload.sha256[:12]}  {upload.path}")
    echo(f"  {plan.size:>13,}  バイト、{len(plan.uploads)} ファイル")
    card = next(upload.content for upload in plan.uploads if upload.path == "README.md")
    assert isinstance(card, bytes)
    echo("モデルカード (README.md):")
    for line in card.decode().splitlines():
        echo(f"  | {line}" if line else "  |")


def _visibility(private: bool) -> str:
    return "非公開" if private else "公開"


if __name__ == "__main__":
    cli.stage_main(main)
