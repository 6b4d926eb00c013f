"""Exactly which files would go where; the same artifact and settings always give the same plan."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifact import Manifest
from pipeline.errors import CorruptArtifact
from pipeline.files import canonical_json
from publish.card import write_card
from publish.chain import Chain, model_folder, provenance
from publish.settings import PublishSettings

CARD, PROVENANCE = "README.md", "provenance.json"


@dataclass(frozen=True)
class Upload:
    """One file of the repository."""

    path: str  # in the repository
    content: Path | bytes
    size: int
    sha256: str

    def git_oid(self) -> str:
        """Name of the content as a git blob: how the Hub reports files that are not stored as LFS."""
        data = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What a repository's branches hold afterwards."""

    repo_id: str
    private: bool
    branches: tuple[str, ...]
    tag: str
    message: str  # of the commit
    uploads: tuple[Upload, ...]  # by path

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(upload.size for upload in self.uploads)


def make_plan(chain: Chain, settings: PublishSettings) -> Plan:
    """Lay out the repository: the model at its root, an adapter below adapter/, the card and the provenance."""
    artifact = chain[settings.stage]
    uploads = _files(artifact, model_folder(artifact), "")
    if settings.stage == "lora":
        uploads += _files(artifact, artifact.data / "adapter", "adapter/")
    if not any(upload.path == "config.json" for upload in uploads):
        raise CorruptArtifact(f"{model_folder(artifact)}: no config.json, so no model to publish")
    written = {CARD: write_card(chain, settings).encode(), PROVENANCE: canonical_json(provenance(chain)) + b"\n"}
    uploads += [Upload(path, data, len(data), hashlib.sha256(data).hexdigest()) for path, data in written.items()]
    branch = settings.branch or default_branch(artifact)
    return Plan(
        repo_id=settings.repo_id,
        private=settings.private,
        branches=tuple(dict.fromkeys([branch, "main"] if settings.main else [branch])),
        tag=settings.tag,
        message=f"{settings.stage} {artifact.digest[7:19]}",
        uploads=tuple(sorted(uploads, key=lambda upload: upload.path)),
    )


def default_branch(artifact: Manifest) -> str:
    """step-N for a pretrained checkpoint, <stage>-step-N for a tuned one."""
    stage, steps = artifact.root.parent.name, artifact.stats.get("iterations", artifact.stats.get("steps"))
    if not isinstance(steps, int):
        raise CorruptArtifact(f"{artifact.root}: its statistics name no steps; set [publish] branch")
    return f"step-{steps}" if stage == "pretrain" else f"{stage}-step-{steps}"


def _files(artifact: Manifest, folder: Path, prefix: str) -> list[Upload]:
    """Files of one folder of the artifact, with the hashes that were checked when it was opened."""
    uploads = []
    for row in artifact.body["files"]:
        path = artifact.root / row["path"]
        if path.is_relative_to(folder):
            name = prefix + path.relative_to(folder).as_posix()
            if name not in (CARD, PROVENANCE):
                uploads.append(Upload(name, path, row["bytes"], row["sha256"]))
    return uploads
