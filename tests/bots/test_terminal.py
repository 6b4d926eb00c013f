"""What is on the terminal: ask, chat, and hits with their matches."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.ask import ask, what_next
from bots.chat import talk
from bots.core import Core, ModelDown
from bots.terminal import MATCH, OFF, Screen, excerpt
from pipeline.text.terminal import strip_control_chars
from tests.bots.helpers.fakes import FakeSearcher, fake_core, hit
from tests.fakes.openai import FakeOpenAI

GOLDEN_ASK = """\
質問: 続きは?
回答: 雪国であった。

── 似ている学習データ（ベクトル） 12 件
検索: ベクトル | 順位: 1 | 出典: ja_web | イテレーション: 401/600
  雪国 1 https://example.org/1.html
  第1章 国境の長い<b>トンネル</b>を*抜ける*と雪国であった。
検索: ベクトル | 順位: 2 | 出典: ja_web | イテレーション: 3, 590/600
  雪国 2 https://example.org/2.html
  第2章 国境の長い<b>トンネル</b>を*抜ける*と雪国であった。
検索: ベクトル | 順位: 3 | 出典: ja_web | イテレーション: 未読
  雪国 3 https://example.org/3.html
  第3章 国境の長い<b>トンネル</b>を*抜ける*と雪国であった。

── 同じ言い回しの学習データ（n-gram） 0 件
  同じ言い回しは学習データにありません。
"""


class NoNgram(FakeSearcher):
    """Finds nothing character for character."""

    def search(self, query: str, mode: Any, *, offset: int = 0, limit: int = 5) -> Any:
        self.total = 0 if mode == "ngram" else 12
        return super().search(query, mode, offset=offset, limit=limit)


@pytest.fixture
def model() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(lambda messages: ["雪国で", "あった。"]) as model:
        yield model


def screen(*, colour: bool = False) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(out, colour=colour), out


def chatted(core: Core, *lines: str) -> str:
    """The screen after somebody typed these lines and Ctrl-D."""
    where, out = screen()
    typed = iter(lines)

    def read(prompt: str) -> str:
        try:
            line = next(typed)
        except StopIteration:
            raise EOFError from None
        out.write(f"{prompt}{line}\n")
        return line

    talk(core, where, read)
    return out.getvalue()


def test_ask(model: FakeOpenAI) -> None:
    where, out = screen()
    ask(fake_core(model.base_url, NoNgram()), "続きは?", where)
    assert out.getvalue() == GOLDEN_ASK


def test_ask_when_the_model_is_down(model: FakeOpenAI) -> None:
    model.answer = lambda messages: ["途中", "\0"]
    where, out = screen()
    with pytest.raises(ModelDown):
        ask(fake_core(model.base_url), "続きは?", where)
    assert out.getvalue() == "質問: 続きは?\n回答: 途中\n"


def test_what_next_names_the_run() -> None:
    assert "make chat " in what_next("demo") and "make chat RUN=ja-1.3b" in what_next("ja-1.3b")


def test_chat_remembers_searches_and_ends(model: FakeOpenAI) -> None:
    searcher = FakeSearcher()
    out = chatted(
        fake_core(model.base_url, searcher, hits=1),
        "こんにちは",
        "それで?",
        "／検索　国境",
        "/もっと",
        "/新規",
        "また",
        "/終了",
        "聞こえない",
    )
    assert [[m["content"] for m in r["messages"]] for r in model.requests] == [
        ["こんにちは"],
        ["こんにちは", "雪国であった。", "それで?"],
        ["また"],
    ]
    answered = [("雪国であった。", mode, 0) for mode in ("vector", "ngram")]
    looked = [("国境", mode, offset) for offset in (0, 1) for mode in ("vector", "ngram")]
    assert searcher.asked == [*answered, *answered, *looked, *answered]
    assert (
        "モデル> 雪国であった。\n" in out
        and hit(2).label() in out
        and out.endswith("さようなら。\n")
        and "聞こえない" not in out
    )


def test_chat_survives_a_model_that_fails(model: FakeOpenAI) -> None:
    model.refusals.extend([500] * 3)
    out = chatted(fake_core(model.base_url), "一回目", "二回目", "/もっと先", "/検索", "\udcff壊れた")
    assert "申し訳ありません" in out and "モデル> 雪国であった。" in out
    assert "/検索 言葉" in out  # an unknown command shows the help
    assert model.requests[0]["messages"] == [{"role": "user", "content": "二回目"}]  # the failed turn is forgotten
    assert model.requests[1]["messages"][-1]["content"] == "?壊れた"


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(model: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    core = fake_core(model.base_url)

    def interrupted(messages: Any) -> Iterator[str]:
        yield "途中"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(core, "chat", interrupted)
        out = chatted(core, "長い話")
    assert "モデル> 途中\n（止めました）" in out and hit(1).label() in out


def test_match_is_highlighted_on_every_line() -> None:
    where, out = screen(colour=True)
    text = "前\n国境の\n長い\x1b[2Jトンネル"
    where.hit(replace(hit(1), text=text, spans=((2, 8),)))
    shown = out.getvalue()
    assert f"  {MATCH}国境の{OFF}\n  {MATCH}長い{OFF}\ufffd[2Jトンネル\n" in shown


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Screen(Terminal()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Screen(Terminal()).colour


@given(st.text(max_size=300), st.integers(10, 120), st.data())
def test_excerpt_shows_the_first_match(text: str, limit: int, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 8)))
    spans = ((begin, end),) if end > begin else ()
    shown, kept = excerpt(text, spans, limit)
    assert len(shown) <= limit + 2
    assert shown.removeprefix("…").removesuffix("…") in text or shown in text
    assert [shown[a:b] for a, b in kept] == [text[a:b] for a, b in spans]


@given(st.text(max_size=100))
def test_safe_text_commands_no_terminal(text: str) -> None:
    assert len(strip_control_chars(text)) == len(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in strip_control_chars(text))
