"""Talk to the model at the terminal: streamed answers, each with the training data that resembles it."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bots.settings import BotsSettings
from pipeline import cli
from pipeline.progress import echo
from search.hits import Mode

if TYPE_CHECKING:
    from bots.core import Core, Message
    from bots.terminal import Screen

PROMPT = "あなた> "
HELP = """\
  /検索 言葉   学習データを検索する
  /もっと      直前の検索の続きを見る
  /新規        ここまでの会話を忘れる
  /助け        この説明
  /終了        終わる（Ctrl-D でも）
回答の途中で Ctrl-C を押すと、そこで止まります。"""
ALIASES = {"/search": "/検索", "/more": "/もっと", "/new": "/新規", "/help": "/助け", "/quit": "/終了", "/exit": "/終了"}


@dataclass
class Conversation:
    """One sitting: the turns so far, and how far the last search was shown."""

    core: "Core"
    screen: "Screen"
    turns: "list[Message]" = field(default_factory=list)
    query: str = ""
    shown: dict[Mode, int] = field(default_factory=dict)

    def hear(self, line: str) -> bool:
        """Do what a typed line says; False when it says goodbye."""
        line = line.encode("utf-8", "replace").decode().strip()  # half a character of another encoding is a "?"
        if line.startswith("／"):  # what an input method leaves of a slash
            line = "/" + line[1:]
        word, _, rest = line.replace("\u3000", " ").partition(" ")
        match ALIASES.get(word, word):
            case "":
                pass
            case "/終了":
                return False
            case "/検索" if rest.strip():
                self.search(rest.strip())
            case "/検索":
                self.screen.line("検索する言葉を続けて書いてください。例: /検索 図書館")
            case "/もっと":
                self.more()
            case "/新規":
                self.turns.clear()
                self.screen.line("会話を新しく始めます。")
            case command if command.startswith("/"):
                self.screen.line(HELP)
            case _:
                self.answer(line)
        return True

    def answer(self, question: str) -> None:
        """One turn. A turn that failed or was stopped is told, and kept only as far as it went."""
        from bots.core import ModelError

        pieces: list[str] = []
        try:
            with closing(self.core.chat([*self.turns, {"role": "user", "content": question}])) as stream:
                self.screen.stream("モデル> ", stream, pieces)
        except ModelError as error:
            self.screen.line(error.sentence)
        except KeyboardInterrupt:
            self.screen.line("（止めました）")
        answer = "".join(pieces)
        if answer.strip():
            self.turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            self.search(answer)

    def search(self, query: str) -> None:
        """The first page of both searches."""
        result = self.core.evidence(query, "")
        self.query = result.query
        self.shown = {mode: len(page.hits) for mode, page in result.pages()}
        self.screen.evidence(result)
        self.screen.line()

    def more(self) -> None:
        """The next page of both searches."""
        if not self.query:
            self.screen.line("まだ何も検索していません。")
            return
        for mode, offset in list(self.shown.items()):
            page = self.core.search(self.query, mode, offset=offset)
            self.shown[mode] = offset + len(page.hits)
            if page.hits:
                self.screen.page(mode, page)
            else:
                self.screen.line("これより先はありません。")
        self.screen.line()


def talk(core: "Core", screen: "Screen", read: Callable[[str], str]) -> None:
    """Read and answer until /終了 or the end of the input.

    Args: read: like `input`: shows a prompt, returns a line, raises EOFError at the end.
    """
    conversation = Conversation(core, screen)
    screen.line("モデルと話せます。/助け で使い方、/終了 で終わり。")
    while True:
        try:
            line = read(PROMPT)
        except EOFError:
            break
        except KeyboardInterrupt:
            screen.line()
            continue
        if not conversation.hear(line):
            break
    screen.line("さようなら。")


def main(argv: Sequence[str] | None = None) -> None:
    """Talk to the run's model."""
    arguments = cli.stage_parser("bots.chat", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("bots", BotsSettings)
    if arguments.dry_run:
        echo(f"端末での対話: {settings.model} のモデルと話し、回答に似ている学習データを {settings.hits} 件ずつ示します")
        return
    import readline  # noqa: F401 - importing it gives `input` line editing and history

    from bots.core import Core
    from bots.terminal import stdout

    echo("モデルを読み込んでいます…")
    with Core.open(run, settings) as core:
        core.ready()
        talk(core, stdout(), input)


if __name__ == "__main__":
    cli.stage_main(main)
