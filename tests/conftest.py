"""Fixtures that several test files share."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Hypothesis judges by wall time how fast examples are made and run; a busy machine fails tests by that, so no time is asserted.
settings.register_profile("minamoto", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("minamoto")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, visibly, what needs a GPU or the development data where there is none."""
    for item in items:
        if item.get_closest_marker("sample") and not sample_folder().is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no development data at {sample_folder()} (set MINAMOTO_DATA)"))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def sample_folder() -> Path:
    """The development data; never part of the repository."""
    return Path(os.environ.get("MINAMOTO_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the development data; use with the marker `sample`."""
    return sample_folder()


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray of two workers for all in-process tests: starting it costs seconds."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a real tokenizer of 1,280 pieces, as the tokenizer stage exports it; trained once, on our instruction data."""
    from tests.helpers import instruction_texts
    from tokenizer.export import export
    from tokenizer.settings import TokenizerSettings
    from tokenizer.train.recipes import train_recipe
    from tokenizer.train.sample import Sample, sentences

    # 0.98 of the characters: the text is short, all its kanji would leave no room for longer pieces
    settings = TokenizerSettings(vocab_size=1280, max_characters=1_000_000, character_coverage=0.98)
    folder = tmp_path_factory.mktemp("tokenizer")
    sample = Sample({"instructions": [s for text in instruction_texts() for s in sentences(text)]})
    export(train_recipe(sample, settings), folder)
    return folder
