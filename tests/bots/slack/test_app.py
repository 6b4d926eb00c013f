"""The unmodified slack_bolt App and SocketModeHandler against a fake Slack and a fake model server, over real sockets."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from slack_bolt.adapter.socket_mode import SocketModeHandler

from bots.core import Core
from bots.settings import Slack
from bots.slack.app import SlackBot
from bots.slack.blocks import MORE, TITLE
from bots.slack.jobs import Refusal
from pipeline.errors import ExternalServiceError
from tests.bots.helpers.fakes import TOTAL, FakeSearcher, fake_core, hit
from tests.fakes.openai import FakeOpenAI
from tests.fakes.slack import FakeSlack, Fault
from tests.fakes.slack_workspace import APP_TOKEN, BOT_TOKEN, Message

SETTINGS = Slack(every_seconds=0.05, workers=2, per_user=2, waiting=3)
# After what should happen has happened: long enough for what should not happen (a second answer, a second page).
A_WHILE = 0.4


@dataclass
class World:
    """Everything of one test."""

    slack: FakeSlack
    model: FakeOpenAI
    searcher: FakeSearcher
    core: Core

    def written(self, message: Message) -> list[Message]:
        """What the bot wrote below a message (or in its thread)."""
        return self.slack.workspace.replies(message["channel"], message.get("thread_ts") or message["ts"])

    def answers(self, message: Message) -> list[str]:
        """Texts of the answer itself: no asides."""
        return [m["text"] for m in self.written(message) if "metadata" not in m]

    def asides(self, message: Message) -> list[Message]:
        """Search results and sentences."""
        return [m for m in self.written(message) if "metadata" in m]

    def settled(self, message: Message) -> list[Message]:
        """Wait until the bot has finished with a message; everything that it wrote."""
        thread = (message["channel"], message.get("thread_ts") or message["ts"])
        statuses = self.slack.workspace.statuses
        self.slack.workspace.wait(lambda: statuses[thread].count("active") and statuses[thread][-1] == "active")
        return self.written(message)

    def count(self, method: str, status: int = 200) -> int:
        """How many requests of a method got that status."""
        return sum(c.method == method and c.status == status for c in self.slack.workspace.calls)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """One app for the module: closing a SocketModeHandler takes seconds."""
    with FakeSlack() as slack, FakeOpenAI() as model:
        searcher = FakeSearcher()
        core = fake_core(model.base_url, searcher)
        bot = SlackBot(core, replace(SETTINGS, api_url=slack.api_url), BOT_TOKEN)
        handler = SocketModeHandler(bot.app, APP_TOKEN)
        handler.connect()
        slack.workspace.wait(lambda: slack.socket.connections)
        yield World(slack, model, searcher, core)
        handler.close()
        bot.close()


@pytest.fixture
def world(shared: World) -> World:
    """The shared app in a calm workspace."""
    shared.slack.calm()
    shared.slack.socket.ack_seconds = 20.0  # a busy machine is no lost ack
    shared.model.answer = lambda messages: ["国境の長いトンネルを", "抜けると", "雪国であった。"]
    shared.model.requests.clear()
    shared.searcher.asked.clear()
    shared.searcher.total, shared.searcher.broken = TOTAL, False
    shared.core.settings = replace(shared.core.settings, base_url=shared.model.base_url, deadline_seconds=20.0)
    return shared


def pieces(text: str, size: int, seconds: float = 0.0) -> Any:
    """An answer in pieces, `seconds` apart."""

    def answer(messages: Any) -> Iterable[str]:
        for i in range(0, len(text), size):
            time.sleep(seconds)
            yield text[i : i + size]

    return answer


def words(message: Message) -> str:
    """Every visible text of a message's blocks."""
    texts: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            texts.extend([value["text"]] if isinstance(value.get("text"), str) else [])
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(message["blocks"])
    return "\n".join(texts)


def test_mention_stream_search_more(world: World) -> None:
    asked = world.slack.say("U1", "C1", "続きを書いて <b> & </b>", mention=True)
    answer, results = world.settled(asked)
    # one answer, though the mention came as `message` and as `app_mention`, and the text is what was typed
    assert (
        answer["text"] == "国境の長いトンネルを抜けると雪国であった。" and not world.slack.workspace.streams[answer["ts"]].open
    )
    assert [r["messages"] for r in world.model.requests] == [[{"role": "user", "content": "続きを書いて <b> & </b>"}]]
    told = [d for d in world.slack.deliveries if d.payload.get("event", {}).get("ts") == asked["ts"]]
    assert len(told) == 2 and all(len(d.attempts) == 1 and d.acked for d in told)
    assert world.searcher.asked == [(answer["text"], "vector", 0), (answer["text"], "ngram", 0)]
    assert (
        results["text"] == TITLE
        and hit(1).label() in words(results)
        and "検索: n-gram | 順位: 3 | 出典: ja_web" in words(results)
    )
    passages = [b for b in results["blocks"] if b["type"] == "rich_text"]
    bold = [e["text"] for e in passages[0]["elements"][0]["elements"] if e.get("style") == {"bold": True}]
    whole = "".join(e.get("text", "") for e in passages[0]["elements"][0]["elements"])
    assert bold == ["国境の長い"] and whole.strip() == hit(1).text
    # もっと見る, pressed twice
    world.slack.click("U1", results, f"{MORE}:vector")
    world.slack.click("U2", results, f"{MORE}:vector")
    more = world.slack.workspace.wait(lambda: world.asides(asked)[1:])[0]
    world.slack.workspace.wait(lambda: results.get("edited"))
    time.sleep(A_WHILE)
    assert len(world.asides(asked)) == 2 and hit(4).label() in words(more) and hit(3).label() not in words(more)
    assert f"{MORE}:vector" not in str(results["blocks"]) and f"{MORE}:ngram" in str(results["blocks"])
    # to the last page, which has no button
    for _ in range(2):
        last = world.asides(asked)[-1]
        pressed = len(world.asides(asked))
        world.slack.click("U1", last, f"{MORE}:vector")
        world.slack.workspace.wait(lambda pressed=pressed: len(world.asides(asked)) > pressed)
    last = world.asides(asked)[-1]
    assert hit(TOTAL).label() in words(last) and not [b for b in last["blocks"] if b["type"] == "actions"]


def test_direct_message_and_history(world: World) -> None:
    first = world.slack.say("U1", "D1", "雪国とは?")
    world.settled(first)
    second = world.slack.say("U1", "D1", "作者は?", thread_ts=first["ts"])
    world.slack.workspace.wait(lambda: len(world.asides(first)) == 2)
    world.settled(second)
    # the search results are not part of the conversation
    assert world.model.requests[1]["messages"] == [
        {"role": "user", "content": "雪国とは?"},
        {"role": "assistant", "content": "国境の長いトンネルを抜けると雪国であった。"},
        {"role": "user", "content": "作者は?"},
    ]


def test_channel_talk_without_mention_is_none_of_our_business(world: World) -> None:
    world.slack.say("U1", "C1", "お昼どうする?")
    asked = world.slack.say("U1", "C1", "こんにちは", mention=True)
    world.slack.say("U2", "C1", "横から失礼", thread_ts=asked["ts"])
    world.settled(asked)
    again = world.slack.say("U2", "C1", "それで?", mention=True, thread_ts=asked["ts"])
    world.slack.workspace.wait(lambda: len(world.model.requests) == 2)
    world.settled(again)
    assert [m["content"] for m in world.model.requests[1]["messages"] if m["role"] == "user"] == ["こんにちは", "それで?"]


def test_mention_without_a_question(world: World) -> None:
    asked = world.slack.say("U1", "C1", "", mention=True)
    (said,) = world.slack.workspace.wait(lambda: world.written(asked))
    assert "ご質問" in said["text"] and not world.model.requests


def test_lost_acks_give_one_answer(world: World) -> None:
    lost: list[str] = []

    def lose(payload: dict[str, Any]) -> bool:
        ours = payload["event"].get("user") == "U1"
        lost.extend([payload["event_id"]] if ours else [])
        return ours and lost.count(payload["event_id"]) <= 2

    world.slack.socket.ack_seconds, world.slack.socket.lose_ack = 0.5, lose
    world.slack.socket.retry_seconds = (0.0, 0.1, 0.1, 1.0, 1.0)
    asked = world.slack.say("U1", "C1", "一度だけ答えて", mention=True)
    ours = [d for d in world.slack.deliveries if d.payload.get("event", {}).get("ts") == asked["ts"]]
    world.slack.workspace.wait(lambda: all(d.acked for d in ours))
    assert len(ours) == 2 and all(len(d.attempts) >= 3 for d in ours)
    world.settled(asked)
    time.sleep(A_WHILE)
    assert len(world.answers(asked)) == 1 and len(world.asides(asked)) == 1 and len(world.model.requests) == 1


def test_429_is_honoured(world: World) -> None:
    world.model.answer = pieces("あいうえおかきくけこ" * 4, 4, 0.03)
    world.slack.order("chat.startStream", Fault(status=429, retry_after=1))
    world.slack.order("chat.appendStream", Fault(status=429, retry_after=1))
    asked = world.slack.say("U1", "D1", "長く")
    world.settled(asked)
    assert world.answers(asked) == ["あいうえおかきくけこ" * 4]
    for method in ("chat.startStream", "chat.appendStream"):
        calls = [c for c in world.slack.workspace.calls if c.method == method]
        refused = next(i for i, c in enumerate(calls) if c.status == 429)
        assert calls[refused + 1].at - calls[refused].at >= 1.0 and calls[refused + 1].status == 200


@pytest.mark.parametrize("method", ["chat.startStream", "chat.appendStream", "chat.postMessage", "chat.stopStream"])
@pytest.mark.parametrize(
    "fault", [Fault(drop=True, done=True), Fault(drop=True), Fault(status=500, done=True), Fault(status=503)]
)
def test_lost_replies_lose_and_repeat_nothing(world: World, method: str, fault: Fault) -> None:
    world.model.answer = pieces("雪国の朝は静かだ。", 3, 0.06)
    world.slack.order(method, fault)
    asked = world.slack.say("U1", "D1", "どんな朝?")
    world.settled(asked)
    assert world.answers(asked) == ["雪国の朝は静かだ。"] and len(world.asides(asked)) == 1


def test_model_server_down_gives_a_polite_sentence(world: World) -> None:
    with FakeOpenAI() as gone:
        pass
    world.core.settings = replace(world.core.settings, base_url=gone.base_url)
    asked = world.slack.say("U1", "C1", "いますか", mention=True)
    (said,) = world.settled(asked)
    assert (
        said["text"].startswith("申し訳ありません。") and "つながりません" in said["text"] and "127.0.0.1" not in said["text"]
    )
    world.core.settings = replace(world.core.settings, base_url=world.model.base_url)
    again = world.slack.say("U1", "C1", "戻りましたか", mention=True)
    world.settled(again)
    assert world.answers(again)


def test_model_server_dying_in_the_middle(world: World) -> None:
    world.model.answer = lambda messages: ["途中まで", "\0"]
    asked = world.slack.say("U1", "C1", "続きは?", mention=True)
    said = [m["text"] for m in world.settled(asked)]
    assert said[0] == "途中まで" and "つながりません" in said[1] and said[2] == TITLE


def test_deadline(world: World) -> None:
    world.core.settings = replace(world.core.settings, deadline_seconds=2.0)
    world.model.answer = pieces("あ" * 1_000, 1, 0.05)
    asked = world.slack.say("U1", "D1", "終わりまで")
    world.settled(asked)
    assert world.answers(asked)[0].startswith("あ") and "時間がかかりすぎ" in world.asides(asked)[0]["text"]


def test_search_that_fails_is_told(world: World) -> None:
    world.searcher.broken = True
    asked = world.slack.say("U1", "D1", "こんにちは")
    world.settled(asked)
    assert world.answers(asked) and "検索できません" in world.asides(asked)[0]["text"]


def test_overlong_answer_goes_on_in_a_new_message(world: World) -> None:
    text = "\n\n".join("雪国の朝は静かだ。" * 60 for _ in range(14))
    world.model.answer = pieces(text, 200)
    asked = world.slack.say("U1", "C1", "長い話をして", mention=True)
    world.settled(asked)
    parts = world.answers(asked)
    assert "".join(parts) == text and len(parts) >= 3 and all(len(part.encode()) <= 9_000 for part in parts)
    assert all(part.endswith(("。", "\n")) for part in parts)
    assert not [c.response for c in world.slack.workspace.calls if c.response.get("error")]


def test_expired_stream_goes_on_in_a_new_message(world: World) -> None:
    world.slack.web.stream_seconds = 0.4
    world.model.answer = pieces("い" * 30, 3, 0.1)
    asked = world.slack.say("U1", "D1", "ゆっくり")
    world.settled(asked)
    assert "".join(world.answers(asked)) == "い" * 30 and len(world.answers(asked)) > 1


def test_without_streaming_ordinary_messages_do(world: World) -> None:
    world.slack.order("chat.startStream", Fault(error="method_not_supported_for_channel_type"))
    world.model.answer = pieces("雪国。" * 20, 5, 0.02)
    asked = world.slack.say("U1", "C1", "こんにちは", mention=True)
    world.settled(asked)
    assert len(world.answers(asked)) <= 2 and "".join(world.answers(asked)) == "雪国。" * 20


@pytest.mark.parametrize("size", [1, 3, 100])
def test_answer_calls_nobody(world: World, size: int) -> None:
    world.model.answer = pieces("皆さん <!channel> <@U2> <!here|x> @everyone @here へ。a@channel.jp 3 < 5 @heretic", size, 0.01)
    asked = world.slack.say("U1", "C1", "全員を呼んで", mention=True)
    world.settled(asked)
    (text,) = world.answers(asked)
    assert not any(call in text for call in ("<!", "<@", "@everyone", "@here へ")) and "皆さん" in text
    assert "a@channel.jp 3 < 5 @heretic" in text  # harmless text is left alone


def test_stop_button(world: World) -> None:
    world.model.answer = pieces("う" * 3_000, 3, 0.05)
    asked = world.slack.say("U1", "D1", "長く")
    world.slack.workspace.wait(lambda: world.answers(asked))
    world.slack.press_stop("U1", "D1", asked["ts"])
    world.settled(asked)
    assert len("".join(world.answers(asked))) < 3_000 and world.asides(asked)[-1]["text"] == "回答を止めました。"


def test_limits_of_one_person_and_of_all(world: World) -> None:
    go_on = threading.Event()

    def wait(messages: Any) -> Iterable[str]:
        go_on.wait(20)
        yield "はい。"

    world.model.answer = wait
    mine = [world.slack.say("U1", "D1", f"質問 {i}") for i in range(4)]
    refused = world.slack.workspace.ephemeral
    world.slack.workspace.wait(lambda: len(refused) == 2)
    assert {r["text"] for r in refused} == {Refusal.MANY_OF_YOURS.value} and {r["user"] for r in refused} == {"U1"}
    # a click is acknowledged while every worker is busy
    card = world.slack.workspace.store("D1", user="U0BOT", text="r", blocks=results_card())
    click = world.slack.click("U1", card, f"{MORE}:vector")
    world.slack.workspace.wait(lambda: click.acked)
    world.slack.workspace.wait(lambda: world.slack.workspace.replies("D1", card["ts"])[1:])
    go_on.set()
    world.slack.workspace.wait(lambda: sum(bool(world.asides(m)) for m in mine) == 2)
    for message in mine:
        if world.written(message):
            world.settled(message)


def results_card() -> list[dict[str, Any]]:
    from bots.slack.blocks import results
    from search.hits import Page

    return results("雪国", [("vector", Page((hit(1),), TOTAL), 0)])


def test_new_connection_when_slack_asks_for_one(world: World) -> None:
    before = set(world.slack.socket.connections)
    world.slack.refresh()
    world.slack.workspace.wait(lambda: set(world.slack.socket.connections) - before)
    asked = world.slack.say("U1", "D1", "まだいますか")
    world.settled(asked)
    assert world.answers(asked) and world.count("apps.connections.open") == 1


def test_wrong_token_is_one_line(world: World) -> None:
    with pytest.raises(ExternalServiceError, match=r"refuses SLACK_BOT_TOKEN \(invalid_auth\)"):
        SlackBot(world.core, replace(SETTINGS, api_url=world.slack.api_url), "xoxb-wrong")
