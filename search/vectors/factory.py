"""Which embedder: the one that the settings ask for, or the one that made an index, checked against what is installed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import CorruptArtifact, RecipeDrift
from search.settings import SVD, IndexSettings
from search.vectors import pretrained, svd
from search.vectors.embedder import MIN_COSINE, PROBE, Embedder, Identity, read_saved


def make_embedder(settings: IndexSettings, texts: Sequence[str]) -> Embedder:
    """Make the embedder that `[index]` asks for.

    Args:
        texts: passages to fit it on, `sample_size(settings)` of them or fewer.
    Raises: MissingInput if its package or model is not there; ConfigError if it cannot be loaded.
    """
    if settings.embedder == SVD:
        return svd.fit(texts, features_kept=settings.features, dimensions=settings.dimensions)
    return pretrained.load(settings.embedder, settings.embedder_revision, settings.prompts)


def sample_size(settings: IndexSettings) -> int:
    """How many passages `make_embedder` is fitted on."""
    return settings.fit_passages if settings.embedder == SVD else 0


def check_embedder(settings: IndexSettings, identity: Identity, where: str) -> None:
    """Check that a run file still asks for the embedder of its index.

    Args:
        where: the run file, for the message.
    Raises: RecipeDrift if it names another embedder, revision or prompts.
    """
    asked: Mapping[str, tuple[Any, Any]] = {
        "embedder": (settings.embedder, identity.embedder),
        "embedder_revision": (settings.embedder_revision or identity.revision, identity.revision),
        "prompts": (settings.prompts or identity.prompts, identity.prompts),
    }
    for key, (found, expected) in asked.items():
        if found != expected:
            raise RecipeDrift(
                f"{where} [index]: {key} = {found!r}, but the index was made with {expected!r}; "
                "put that back, or `make clean-index index`"
            )


def open_embedder(folder: Path) -> Embedder:
    """Open the embedder that `Embedder.save` wrote or named, and check that it is the same.

    Raises: CorruptArtifact if a file is missing or damaged; MissingInput if a package or model is not there;
        RecipeDrift if what is there now is another model, revision or size, or answers otherwise.
    """
    identity, probe = read_saved(folder)
    opened = _open_model(identity, folder)
    if opened.identity != identity:
        message = f"{folder}: the index was made with {identity}, now there is {opened.identity}"
        if identity.embedder == SVD:
            raise CorruptArtifact(f"{message}; make the index again")
        raise RecipeDrift(f"{message}; put that model back, or make the index again")
    cosine = float(opened.embed([PROBE])[0] @ probe) if probe.any() else 1.0
    if not cosine >= MIN_COSINE:
        raise RecipeDrift(
            f"{folder}: {identity.embedder!r} no longer makes the vectors of the index (cosine {cosine:.4f}, expected "
            f"{MIN_COSINE} at least); install the versions that made it, or make the index again"
        )
    return opened


def _open_model(identity: Identity, folder: Path) -> Embedder:
    if identity.embedder == SVD:
        return svd.SvdEmbedder.read(folder)
    return pretrained.load(identity.embedder, identity.revision, identity.prompts, where=f"{folder}: ")
