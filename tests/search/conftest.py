"""The small world, indexed once for all tests of search."""

import pytest

from search.index import __main__ as index
from search.searcher import Searcher
from tests.search.helpers.world import World, make_world


def make_index(world: World, *more: str) -> None:
    """`make index` of that world, in this process."""
    index.main(["--run", str(world.run.path), "--artifacts", str(world.run.artifacts), *more])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> World:
    made = make_world(tmp_path_factory.mktemp("world"))
    make_index(made)
    return made


@pytest.fixture(scope="session")
def searcher(world: World) -> Searcher:
    return Searcher.open(world.run)
