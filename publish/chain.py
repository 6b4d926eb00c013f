"""The sealed artifacts that a model comes from, from the one published back to the sources."""

import json
from pathlib import Path
from typing import Any

from pipeline.artifact import Manifest, open_sealed
from pipeline.errors import CorruptArtifact
from pipeline.files import short_digest
from pipeline.runfile import RunFile

Chain = dict[str, Manifest]  # stage -> its artifact; the published stage first, then what it was made from


def open_chain(run: RunFile, stage: str) -> Chain:
    """Open the artifact of `stage`, hashing every file, and follow its recorded inputs as far as they are here.

    Inputs that are no artifact of the run (data files) or whose artifact was removed end the chain there.

    Raises: MissingInput if `stage` is not sealed; CorruptArtifact if a file was changed, or an artifact on the way
        is not the one the next was made from.
    """
    chain: Chain = {stage: open_sealed(run.root(stage), verify_all=True)}
    todo = [stage]
    while todo:
        result = chain[todo.pop(0)]
        for name, digest in sorted(result.inputs.items()):
            root = run.root(name)
            if not (root / "manifest.json").is_file():
                continue
            if name not in chain:
                chain[name] = Manifest(root, json.loads((root / "manifest.json").read_text("utf-8")))
                todo.append(name)
            if chain[name].digest != digest:
                raise CorruptArtifact(
                    f"{result.root}: made from {name} {short_digest(digest)}, but {root} is {chain[name].short} now; "
                    f"make {result.root.parent.name} again before you publish it"
                )
    return chain


def licences(chain: Chain) -> list[dict[str, str]]:
    """Every licence row of the chain, each once, by source."""
    rows = {json.dumps(row, sort_keys=True): row for manifest in chain.values() for row in manifest.body["licences"]}
    return sorted(rows.values(), key=lambda row: (row["source"], row["licence"]))


def provenance(chain: Chain) -> list[dict[str, Any]]:
    """What a reader needs to make each artifact again, or to check that a copy is the same."""
    return [
        {
            "stage": stage,
            "digest": manifest.digest,
            "inputs": manifest.inputs,
            "settings": manifest.body["made"]["settings"],
            "commit": manifest.body["made"]["commit"],
            "packages": manifest.body["made"]["packages"],
        }
        for stage, manifest in chain.items()
    ]


def model_folder(manifest: Manifest) -> Path:
    """Where the stage puts the model that `from_pretrained` loads."""
    return manifest.data / ("hf" if manifest.root.parent.name == "pretrain" else "model")
