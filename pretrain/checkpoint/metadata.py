"""`.metadata` of a checkpoint, which torch.distributed.checkpoint pickles: read with what it needs and nothing that runs code.

Whoever hands over a checkpoint may have put any object into it, and torch reads the file with plain `pickle`.
"""

import pickle
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import CorruptArtifact

FILE = ".metadata"
_CHECKPOINT = "torch.distributed.checkpoint"
_CLASSES = {
    f"{_CHECKPOINT}.metadata": {
        "Metadata", "MetadataIndex", "StorageMeta", "ChunkStorageMetadata", "TensorStorageMetadata", "BytesStorageMetadata",
        "TensorProperties", "_MEM_FORMAT_ENCODING",
    },
    f"{_CHECKPOINT}.filesystem": {"_StorageInfo"},
    f"{_CHECKPOINT}.planner": {"SavePlan", "WriteItem", "WriteItemType", "TensorWriteData", "BytesIOWriteData"},
    "torch.serialization": {"_get_layout"},  # the name of a layout -> the layout
    "collections": {"OrderedDict"},
}  # fmt: skip


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch":
            value = getattr(torch, name, None)
            if value is torch.Size or isinstance(value, torch.dtype):
                return value
        elif name in _CLASSES.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint of ours has")


def check_metadata(folder: Path) -> None:
    """Read a checkpoint's `.metadata` without running anything that it names.

    Raises: CorruptArtifact if it is missing, damaged, or names anything but the classes of torch's checkpoints.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            _Unpickler(file).load()
    except Exception as error:
        raise CorruptArtifact(
            f"{path}: not the metadata of a checkpoint: {error}; do not load it, get the checkpoint again"
        ) from error
