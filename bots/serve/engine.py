"""One model, one generation at a time: a queue, a worker thread, text that streams whole characters only."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bots.serve.request import ApiError, Sampling

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)
# What a tokenizer decodes an unfinished UTF-8 sequence to.
UNFINISHED = "\ufffd"
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class TextDelta:
    """Some more text of an answer."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The end of an answer."""

    reason: str  # "stop": the model ended it, or a stop string did; "length": max_tokens
    tokens: int


@dataclass(frozen=True)
class GenerationJob:
    """A prompt in the queue; `emit` is called from the worker thread, the last time with Finished or an exception."""

    prompt: Sequence[int]
    sampling: Sampling
    max_tokens: int
    emit: Callable[[TextDelta | Finished | Exception], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


class TextStream:
    """Token ids in, text out: holds back half characters, and what may yet become a stop string."""

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str]) -> None:
        self._decode, self._stops = decode, stops
        self._ids: list[int] = []
        self._sent = 0  # characters already given out
        self.stopped = False

    def put(self, ids: Sequence[int]) -> str:
        """Text that these further tokens make certain."""
        self._ids += ids
        return self._advance(self._decode(self._ids).rstrip(UNFINISHED), last=False)

    def end(self) -> str:
        """What is left when no more tokens come."""
        return self._advance(self._decode(self._ids), last=True)

    def _advance(self, text: str, *, last: bool) -> str:
        if self.stopped:
            return ""
        matches = [offset for stop in self._stops if (offset := text.find(stop)) >= 0]
        if matches:
            self.stopped = True
            sure = min(matches)
        else:
            sure = len(text) if last else len(text) - self._maybe_stop(text)
        fresh = text[self._sent : sure]
        self._sent = max(self._sent, sure)
        return fresh

    def _maybe_stop(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        return max((n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


class Engine:
    """A loaded model behind a queue."""

    def __init__(self, model: Any, tokenizer: "PreTrainedTokenizerBase", *, waiting: int) -> None:
        """Args: waiting: jobs that may wait; `submit` refuses the next one."""
        self.context: int = model.config.max_position_embeddings  # tokens, prompt and answer together
        self._model, self._tokenizer = model, tokenizer
        self._jobs: queue.Queue[GenerationJob | None] = queue.Queue(waiting)
        self._worker = threading.Thread(target=self._work, name="generate", daemon=True)
        self._worker.start()

    @classmethod
    def load(cls, folder: Path, *, threads: int, waiting: int) -> "Engine":
        """Load a Hugging Face model folder on CUDA where there is one, else on the CPU."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if threads:
            torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto" if device == "cuda" else torch.float32)
        model.generation_config.max_length = None  # every request brings its own limit; transformers warns about two
        return cls(model.to(device).eval(), AutoTokenizer.from_pretrained(folder), waiting=waiting)

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The model's tokenizer."""
        return self._tokenizer

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self._jobs.qsize()

    def room(self, prompt_tokens: int, max_tokens: int | None) -> int:
        """Tokens that an answer may have.

        Raises: ApiError 400 if prompt and answer exceed the context.
        """
        left = self.context - prompt_tokens
        if left < (max_tokens or 1):
            raise ApiError(
                400,
                f"This model's maximum context length is {self.context} tokens; the messages have {prompt_tokens} and "
                f"{max_tokens or 1} were asked for the completion. Shorten the messages or lower max_tokens.",
                code="context_length_exceeded",
                param="messages",
            )
        return max_tokens or left

    def submit(self, job: GenerationJob) -> None:
        """Put a job at the end of the queue.

        Raises: ApiError 429 if too many wait.
        """
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise ApiError(429, f"{self._jobs.maxsize} requests wait already; try again later", code="queue_full") from None

    def close(self) -> None:
        """Finish the running job, drop no other, end the worker."""
        self._jobs.put(None)
        self._worker.join(CLOSE_SECONDS)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.cancelled.is_set():
                job.emit(Finished("stop", 0))
                continue
            try:
                finished = self._generate(job)
            except Exception as error:  # one request's failure must not end the server
                log.exception("generation failed")
                job.emit(error)
            else:
                job.emit(finished)

    def _generate(self, job: GenerationJob) -> Finished:
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList
        from transformers.generation.streamers import BaseStreamer

        text = TextStream(self._decode, job.sampling.stop)
        results: list[int] = []

        class Stream(BaseStreamer):
            def put(self, value: "torch.Tensor") -> None:
                if value.dim() > 1:  # the prompt comes first, as (1, tokens)
                    return
                ids = value.tolist()
                results.extend(ids)
                if fresh := text.put(ids):
                    job.emit(TextDelta(fresh))

            def end(self) -> None:
                if fresh := text.end():
                    job.emit(TextDelta(fresh))

        class Stop(StoppingCriteria):
            def __call__(self, input_ids: "torch.Tensor", scores: Any, **kwargs: Any) -> Any:
                over = job.cancelled.is_set() or text.stopped
                return torch.full((input_ids.shape[0],), over, dtype=torch.bool, device=input_ids.device)

        prompt = torch.tensor([list(job.prompt)], device=self._model.device)
        if job.sampling.seed is None:
            torch.seed()
        else:
            torch.manual_seed(job.sampling.seed)
        with torch.inference_mode():
            self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=self._config(job),
                streamer=Stream(),
                stopping_criteria=StoppingCriteriaList([Stop()]),
            )
        ended = text.stopped or job.cancelled.is_set() or (bool(results) and results[-1] in self._ends())
        return Finished("stop" if ended else "length", len(results))

    def _config(self, job: GenerationJob) -> Any:
        """Everything said: what stays None here, transformers fills from the model's own generation_config."""
        from transformers import GenerationConfig

        s = job.sampling
        how: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        if s.temperature > 0:
            how = {"do_sample": True, "temperature": s.temperature, "top_p": s.top_p, "top_k": 0, "num_beams": 1}
        ends = self._ends()
        return GenerationConfig(
            **how,
            repetition_penalty=s.repetition_penalty,
            max_new_tokens=job.max_tokens,
            eos_token_id=ends,
            pad_token_id=ends[0] if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id,
        )

    def _decode(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _ends(self) -> list[int]:
        ends: Any = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._tokenizer.eos_token_id
        return list(ends) if isinstance(ends, list | tuple) else [ends]
