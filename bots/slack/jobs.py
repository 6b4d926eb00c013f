"""Questions wait in a queue and are answered by worker threads of our own, never by Bolt's five listener threads."""

import logging
import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum

log = logging.getLogger(__name__)
# Slack repeats an event for about an hour [docs: Events API, retries]; a busy workspace asks less often than this.
REMEMBERED = 10_000
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Question:
    """One message to the bot."""

    team: str
    channel: str
    ts: str
    thread_ts: str  # where the answer goes: the thread it was asked in, or the message itself
    user: str
    text: str  # what was typed
    direct: bool  # in a direct message, where every message is meant for the bot


class Refusal(Enum):
    """Why a question was not taken, as the person reads it."""

    MANY_OF_YOURS = "前のご質問に回答しているところです。終わってから、もう一度お送りください。"
    MANY_OF_ALL = "ただいま混み合っています。少し待ってから、もう一度お送りください。"


class SeenEvents:
    """Remembers the latest keys: Slack sends a message once for each event it causes, and again when an ack is lost."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._keys: OrderedDict[Hashable, None] = OrderedDict()
        self._most, self._lock = most, threading.Lock()

    def first(self, key: Hashable) -> bool:
        """Whether this key comes for the first time."""
        with self._lock:
            if key in self._keys:
                return False
            self._keys[key] = None
            if len(self._keys) > self._most:
                self._keys.popitem(last=False)
            return True


@dataclass(frozen=True)
class Task:
    """A question in the queue, and whether somebody pressed stop."""

    question: Question
    stop: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The queue and its workers."""

    def __init__(self, answer: Callable[[Task], None], *, workers: int, per_user: int, waiting: int) -> None:
        """Args: answer: called in a worker thread; per_user: questions of one person that may wait or run."""
        self._answer, self._per_user = answer, per_user
        self._queue: queue.Queue[Task | None] = queue.Queue(waiting + workers)  # room for the workers' farewells
        self._waiting = waiting
        self._lock = threading.Lock()
        self._load: Counter[tuple[str, str]] = Counter()
        self._open: dict[int, Task] = {}
        self._threads = [threading.Thread(target=self._work, name=f"answer-{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, question: Question) -> Refusal | None:
        """Take a question, or say why not; never blocks."""
        who = (question.team, question.user)
        with self._lock:
            if self._load[who] >= self._per_user:
                return Refusal.MANY_OF_YOURS
            if self._queue.qsize() >= self._waiting:
                return Refusal.MANY_OF_ALL
            self._load[who] += 1
            task = Task(question)
            self._open[id(task)] = task
            self._queue.put_nowait(task)
        return None

    def stop(self, channel: str, thread_ts: str) -> None:
        """Stop what is being answered, or waits, in a thread."""
        with self._lock:
            for task in self._open.values():
                if (task.question.channel, task.question.thread_ts) == (channel, thread_ts):
                    task.stop.set()

    def close(self) -> None:
        """Stop everything and end the workers."""
        with self._lock:
            for task in self._open.values():
                task.stop.set()
        for _ in self._threads:
            self._queue.put(None)
        end = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                self._answer(task)
            except Exception:  # whatever one question causes, the next one wants its answer
                log.exception("answering %s in %s failed", task.question.ts, task.question.channel)
            finally:
                who = (task.question.team, task.question.user)
                with self._lock:
                    del self._open[id(task)]
                    self._load[who] -= 1
                    if not self._load[who]:
                        del self._load[who]
