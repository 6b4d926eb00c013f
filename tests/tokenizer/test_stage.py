"""The stage as it is run: python -m tokenizer."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.artifact import open_sealed
from pipeline.documents import document_files
from pipeline.runfile import build_settings
from pretrain.pack import __main__ as pack
from tests.helpers import run_file
from tests.tokenizer.helpers.corpus import documents, identifier, seal_corpus
from tokenizer import __main__ as stage_module
from tokenizer.encode import MODEL_FILE, Tokenizer
from tokenizer.settings import TokenizerSettings
from tokenizer.symbols import required_pieces
from tokenizer.train.recipes import train_recipe
from tokenizer.train.sample import draw

ROOT = Path(__file__).parents[2]
TABLE = "[tokenizer]\nvocab_size = 1280\nmax_characters = 30_000\ncharacter_coverage = 0.98\nweights = { a = 2, b = 1 }\n"


def command(folder: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "tokenizer", "--run", str(folder / "t.toml"), "--artifacts", str(folder / "artifacts"), *more,
    ]  # fmt: skip


def stage(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sealed corpus and the tokenizer trained on it."""
    folder = tmp_path_factory.mktemp("made")
    seal_corpus(run_file(folder, TABLE), {"a": documents("a", 40), "b": documents("b", 40)})
    done = stage(folder, "--set", "ray.workers=2")
    assert done.returncode == 0, done.stderr
    assert "1 トークンあたり" in done.stdout
    return folder


def test_artifact_says_what_went_in_and_how_well_it_compresses(made: Path) -> None:
    sealed = open_sealed(made / "artifacts" / "tokenizer" / "t", verify_all=True)
    assert sealed.inputs == {"corpus": open_sealed(made / "artifacts" / "corpus" / "t").digest}
    assert sealed.body["licences"] == open_sealed(made / "artifacts" / "corpus" / "t").body["licences"]
    sources = sealed.stats["sources"]
    assert 0.8 * 20_000 < sources["a"]["sampled_characters"] <= 20_000
    assert 0.8 * 10_000 < sources["b"]["sampled_characters"] <= 10_000
    assert all(1.0 < row["characters_per_token"] < 4.0 for row in sources.values())
    tokenizer = Tokenizer.load(sealed.data)
    assert tokenizer.vocab_size == sealed.stats["vocab_size"] == 1280


def test_again_it_is_skipped(made: Path) -> None:
    done = stage(made)
    assert (done.returncode, done.stderr) == (0, "")
    assert "作成済み" in done.stdout


def test_one_worker_two_or_no_ray_at_all_make_the_same_model(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "t.toml", tmp_path)
    shutil.copytree(made / "artifacts" / "corpus", tmp_path / "artifacts" / "corpus")
    assert stage(tmp_path, "--set", "ray.workers=1").returncode == 0
    two, one = (open_sealed(folder / "artifacts" / "tokenizer" / "t") for folder in (made, tmp_path))
    assert one.digest == two.digest
    settings = build_settings(one.body["made"]["settings"], TokenizerSettings, "")
    files = document_files(open_sealed(made / "artifacts" / "corpus" / "t"))
    assert train_recipe(draw(files, settings), settings) == (one.data / MODEL_FILE).read_bytes()


def test_killed_and_run_again_elsewhere_it_is_the_same(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "t.toml", tmp_path)
    shutil.copytree(made / "artifacts" / "corpus", tmp_path / "artifacts" / "corpus")
    process = subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    root = tmp_path / "artifacts" / "tokenizer" / "t"
    while not (root / "events.jsonl").exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (root / "manifest.json").exists()
    assert stage(tmp_path).returncode == 0
    assert open_sealed(root).digest == open_sealed(made / "artifacts" / "tokenizer" / "t").digest


def test_what_pretraining_holds_out_never_reaches_the_trainer(tmp_path: Path, ray_session: None) -> None:
    texts = {
        source: [f"いろはに{chr(0x4E00 + number + 100 * len(source))}ほへと。" * 3 for number in range(count)]
        for source, count in (("a", 60), ("bb", 2))
    }
    table = f"[tokenizer]\nvocab_size = {required_pieces() + 90}\nmax_characters = 1_000_000\ncharacter_coverage = 1.0\n"
    run = run_file(tmp_path, table + 'recipe = "bpe"\nheld_out_share = 0.1\n[pack]\nvalid_share = 0.1\n')
    seal_corpus(run, texts)
    arguments = ["--run", str(run.path), "--artifacts", str(run.artifacts)]
    stage_module.main(arguments)
    pack.main(arguments)
    tokenizer = Tokenizer.load(run.root("tokenizer") / "data")
    learned = "".join(map(tokenizer.piece, range(tokenizer.vocab_size)))
    for source, rows in texts.items():
        valid = set(pq.read_table(run.root("pack") / "data" / source / "valid.parquet")["doc_id"].to_pylist())
        assert valid
        assert {identifier(source, text) for text in rows if text[4] not in learned} == valid


def test_dry_run_needs_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(TABLE)
    done = stage(tmp_path, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1,280" in done.stdout
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("tokenizer.vocab_size=100000", "ConfigError: [tokenizer] vocab_size = 100000: the text yields"),
        ("tokenizer.vocab_size=10", "vocab_size = 10: 384 pieces are fixed, it must be larger"),
        ("tokenizer.vocabsize=10", "unknown key 'vocabsize'; did you mean 'vocab_size'?"),
        ("tokenizer.weights={c=1}", "ConfigError: [tokenizer] weights: no source 'c' in the corpus"),
        ("tokenizer.vocab_size=390", "vocab_size = 390: the fixed pieces and single characters of the text alone are"),
        ("tokenizer.recipe=wordpiece", "recipe = 'wordpiece': expected one of words, bpe,"),
        ("tokenizer.recipe=unigram", "recipe = 'unigram': a unigram, which transformers and llama.cpp would not read"),
        ("tokenizer.analyzer=juman", "ConfigError: [tokenizer] analyzer = 'juman': expected 'mecab', 'none' or"),
        (
            "tokenizer.analyzer=nowhere:cut",
            "MissingInput: [tokenizer] analyzer = 'nowhere:cut': no module 'nowhere'; install it",
        ),
        ("tokenizer.held_out_share=1.0", "held_out_share = 1.0: expected 0 or more, and less than 1"),
        ("pack.valid_share=0.1", "ConfigError: [tokenizer] held_out_share = 0.02 is less than [pack] valid_share = 0.1: the"),
        ("tokenizer.max_characters=3", "BadInput: no line of text was drawn"),
    ],
)
def test_bad_input_is_one_line(made: Path, tmp_path: Path, override: str, said: str) -> None:
    shutil.copy(made / "t.toml", tmp_path)
    shutil.copytree(made / "artifacts" / "corpus", tmp_path / "artifacts" / "corpus")
    done = stage(tmp_path, "--set", override)
    assert done.returncode == 2
    *progress, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert said in last
    assert not [line for line in progress if not line.startswith(("文字数", "抽出", "トークナイザ"))]


def test_without_a_corpus_or_with_an_empty_one(tmp_path: Path) -> None:
    run = run_file(tmp_path, TABLE)
    done = stage(tmp_path)
    assert done.returncode == 2
    assert "MissingInput" in done.stderr
    seal_corpus(run, {"a": [], "b": [""]})
    done = stage(tmp_path)
    assert done.returncode == 2
    assert "BadInput: the corpus has no text to train a tokenizer on" in done.stderr
