"""Fixtures of the pretraining tests."""

from pathlib import Path

import pytest

from pipeline.artifact import Manifest, open_sealed
from pipeline.runfile import RunFile
from pretrain.pack import __main__ as pack
from tests.pretrain.helpers.corpora import CORPUS, arguments, make_run


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Path, ray_session: None) -> tuple[RunFile, Manifest]:
    """A run packed through the real stage, a tenth of its documents held out, and the artifact."""
    run = make_run(tmp_path_factory.mktemp("packed"), CORPUS, tiny_tokenizer, table="valid_share = 0.1")
    pack.main(arguments(run))
    return run, open_sealed(run.root("pack"))
