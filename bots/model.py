"""Where the model that speaks lies."""

from pathlib import Path

from bots.settings import BotsSettings
from pipeline.artifact import open_sealed
from pipeline.runfile import RunFile

# Folder of the Hugging Face model below data/, by stage.
FOLDERS = {"finetune": "model", "lora": "model", "pretrain": "hf"}


def model_folder(run: RunFile, settings: BotsSettings) -> Path:
    """The Hugging Face folder of `[bots] model` in its sealed artifact.

    Raises: MissingInput if the stage has not been run; CorruptArtifact if a file is not what was sealed.
    """
    return open_sealed(run.root(settings.model)).data / FOLDERS[settings.model]
