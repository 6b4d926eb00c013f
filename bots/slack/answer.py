"""Answer one question in its thread: read what was said, stream the answer, post the training data that resembles it."""

import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bots.core import Core, Message, ModelError
from bots.settings import Slack
from bots.slack.api import ASIDE, Thread
from bots.slack.blocks import TITLE, More, results, truncate_query, without_button
from bots.slack.jobs import Question, Task
from bots.slack.stream import AnswerStream
from bots.slack.text import message_text
from search.hits import Mode, Page

log = logging.getLogger(__name__)
EMPTY = "ご質問を続けて書いてください。例: 富士山の高さは何メートルですか。"
STOPPED = "回答を止めました。"
BROKEN = "申し訳ありません。問題が起きたため、回答できませんでした。"
NO_SEARCH = "申し訳ありません。学習データを検索できませんでした。"


class Answerer:
    """Does the work for a mention and for もっと見る."""

    def __init__(self, core: Core, settings: Slack, reads: WebClient, posts: WebClient, bot_user: str) -> None:
        self._core, self._settings = core, settings
        self._reads, self._posts, self._bot_user = reads, posts, bot_user

    def thread(self, channel: str, thread_ts: str) -> Thread:
        """A thread to write into."""
        return Thread(self._reads, self._posts, channel, thread_ts, self._bot_user)

    def answer(self, task: Task) -> None:
        """One question, from the first word to the search results; whatever goes wrong is said in the thread."""
        question = task.question
        thread = self.thread(question.channel, question.thread_ts)
        if not question.text:
            thread.post(EMPTY)
            return
        thread.set_status("processing")
        try:
            answer = self._stream(task, thread)
            if not task.stop.is_set():
                self._evidence(thread, answer, question.text)
        except Exception:
            thread.post(BROKEN)
            raise
        finally:
            thread.set_status("active")

    def refuse(self, question: Question, why: str) -> None:
        """Tell one person, unseen by the others, why the question was not taken."""
        inside = question.thread_ts if question.thread_ts != question.ts else None
        self._reads.chat_postEphemeral(channel=question.channel, user=question.user, text=why, thread_ts=inside)

    def more(self, channel: str, message: dict[str, Any], thread_ts: str, asked: More) -> None:
        """Post the next page of a search below the last, and take the pressed button away."""
        page = self._core.search(asked.query, asked.mode, offset=asked.offset)
        thread = self.thread(channel, thread_ts)
        thread.post(TITLE, results(asked.query, [(asked.mode, page, asked.offset)]))
        blocks = without_button(message.get("blocks", []), asked.value())
        self._reads.chat_update(channel=channel, ts=message["ts"], text=message.get("text") or TITLE, blocks=blocks)

    def _stream(self, task: Task, thread: Thread) -> str:
        """Stream the answer.

        Returns: as much of it as the model gave.
        """
        question = task.question
        stream = AnswerStream(thread, team=question.team, user=question.user, every=self._settings.every_seconds)
        pieces: list[str] = []
        sentence = None
        try:
            with closing(self._core.chat(self._conversation(thread, question))) as answer:
                for piece in answer:
                    if task.stop.is_set():
                        break
                    pieces.append(piece)
                    stream.feed(piece)
        except ModelError as error:
            log.warning("%s", error)
            sentence = error.sentence
        if task.stop.is_set():
            stream.abandon()
            sentence = STOPPED
        else:
            stream.close()
        if sentence:
            thread.post(sentence)
        return "".join(pieces)

    def _conversation(self, thread: Thread, question: Question) -> Sequence[Message]:
        """The turns of the thread up to the question; the question alone where Slack does not let us read."""
        alone = [{"role": "user", "content": question.text}]
        if question.thread_ts == question.ts:
            return alone
        try:
            messages = thread.history()
        except (SlackApiError, OSError) as error:
            log.warning("conversations.replies: %s", error)
            return alone
        return [*turns(messages, question, self._bot_user), *alone]

    def _evidence(self, thread: Thread, answer: str, question: str) -> None:
        if not answer.strip():
            return
        try:
            result = self._core.evidence(truncate_query(answer), question)
        except Exception:
            log.exception("search failed")
            thread.post(NO_SEARCH)
            return
        pages: list[tuple[Mode, Page, int]] = [(mode, page, 0) for mode, page in result.pages()]
        thread.post(TITLE, results(result.query, pages))


def turns(messages: Sequence[dict[str, Any]], question: Question, bot_user: str) -> list[Message]:
    """The conversation before a question, from a thread's messages: what was said to the bot, and its answers.

    An answer that was cut into several messages is one turn again; search results and apologies are left out.
    """
    rows: list[Message] = []
    for message in messages:
        if float(message["ts"]) >= float(question.ts):
            continue
        text = message.get("text", "")
        if message.get("user") == bot_user:
            if message.get("metadata", {}).get("event_type") == ASIDE["event_type"]:
                continue
            role = "assistant"
        elif message.get("user") and (question.direct or f"<@{bot_user}>" in text):
            role = "user"
        else:
            continue
        content = message_text(text, bot_user)
        if content and rows and role == "assistant" == rows[-1]["role"]:
            rows[-1] = {"role": role, "content": rows[-1]["content"] + content}
        elif content:
            rows.append({"role": role, "content": content})
    return rows
