"""`[bots]` of a run file: which model speaks, how it samples, and how the faces behave."""

from dataclasses import dataclass, field
from typing import Literal

# Longest line-up of parallel answers that a listener may start; each holds a thread and an open HTTP stream.
MAX_WORKERS = 64


@dataclass(frozen=True)
class Serve:
    """`[bots.serve]`: our own server. Loopback needs no key; any other host asks for the one in OPENAI_API_KEY."""

    host: str = "127.0.0.1"
    port: int = 8000
    threads: int = 0  # of torch; 0: as many as torch takes by itself
    waiting: int = 16  # requests that may wait for their turn; the next one gets 429

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16 or self.threads < 0 or self.waiting < 1:
            raise ValueError("serve: port must be 0..65535, threads >= 0, waiting >= 1")


@dataclass(frozen=True)
class Slack:
    """`[bots.slack]`: the Slack app."""

    api_url: str = "https://slack.com/api/"
    workers: int = 2  # answers written at the same time
    per_user: int = 2  # questions of one person that may wait or run
    waiting: int = 20  # questions of everybody that may wait
    every_seconds: float = 1.0  # between two pieces of one answer: chat.appendStream allows about 100 a minute

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MAX_WORKERS or self.per_user < 1 or self.waiting < 1 or self.every_seconds < 0:
            raise ValueError(f"slack: workers must be 1..{MAX_WORKERS}, per_user and waiting >= 1, every_seconds >= 0")


@dataclass(frozen=True)
class BotsSettings:
    """`[bots]`."""

    model: Literal["finetune", "lora", "pretrain"] = "finetune"  # whose sealed artifact speaks
    base_url: str = ""  # of an OpenAI-compatible server, "http://host:8000/v1"; "": start our own
    served_model: str = ""  # its name there; "": the first that the server lists
    question: str = "あなたは誰ですか。"  # what `make ask` asks without Q=…
    system: str = ""  # system message before every conversation
    max_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0  # of vLLM and our own server; sent only where it is not 1
    seed: int | None = None
    hits: int = 3  # search results a page, of each kind
    deadline_seconds: float = 120.0  # for one answer
    serve: Serve = field(default_factory=Serve)
    slack: Slack = field(default_factory=Slack)

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or not 1 <= self.hits <= 20 or self.deadline_seconds <= 0:
            raise ValueError("max_tokens must be >= 1, hits 1..20, deadline_seconds > 0")
        if not 0 <= self.temperature <= 2 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise ValueError("temperature must be 0..2, top_p above 0 and at most 1, repetition_penalty > 0")
