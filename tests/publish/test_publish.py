"""The unmodified huggingface_hub client against a fake Hub on loopback: publish, load back, faults, refusals."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.artifact import Manifest, begin_artifact
from pipeline.errors import ConfigError, CorruptArtifact
from pipeline.runfile import RunFile, build_settings
from publish.chain import licences, open_chain
from publish.plan import make_plan
from publish.settings import PublishSettings
from tests.fakes.hub import FakeHub
from tests.helpers import run_file
from tokenizer.chat import encode_chat
from tokenizer.encode import Tokenizer

ROOT = Path(__file__).parents[2]
TABLE = """
[publish]
repo_id = "lab/tiny"
licence = "apache-2.0"
stage = "finetune"
tag = "v1.0"
wait_seconds = 0.01
"""
LOAD = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], revision=sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], revision=sys.argv[2])
ids = tokenizer.apply_chat_template([{"role": "user", "content": "こんにちは。"}], return_dict=True)["input_ids"]
torch.save((ids, model(torch.tensor([ids])).logits), sys.argv[3])
"""


def seal(run: RunFile, stage: str, inputs: dict[str, str], stats: dict, files: dict[str, bytes] | None = None) -> Manifest:
    with begin_artifact(run, stage, {"batch_size": 8}, inputs, recipe=1) as artifact:
        for name, data in (files or {"x": b"x"}).items():
            path = artifact.data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return artifact.seal(stats, licences=[{"source": f"{stage}-text", "licence": "CC0-1.0", "attribution": "somebody"}])


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Path) -> dict[str, bytes]:
    """A tiny model with its tokenizer, as a stage would export them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1280, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1
    )
    folder = tmp_path_factory.mktemp("model")
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copytree(tiny_tokenizer, folder, dirs_exist_ok=True)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def run(tmp_path: Path, model_files: dict[str, bytes]) -> RunFile:
    """A run with a chain of sealed artifacts: corpus <- pretrain <- finetune."""
    run = run_file(tmp_path, TABLE)
    corpus = seal(run, "corpus", {}, {"documents": 3})
    scores = {name: {"bits_per_byte": 1.234, "unigram_bits_per_byte": 2.5} for name in ("total", "ja_web")}
    stats = {"iterations": 20, "tokens": 12345, "valid": scores}
    pretrain = seal(run, "pretrain", {"corpus": corpus.digest}, stats, {f"hf/{k}": v for k, v in model_files.items()})
    tuned = {"steps": 7, "heldout_loss": {"own": {"before": 5.0, "after": 1.0}}}
    inputs = {"pretrain": pretrain.digest, "data/own": "sha256:00"}
    seal(run, "finetune", inputs, tuned, {f"model/{k}": v for k, v in model_files.items()})
    return run


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


def publish(run: RunFile, hub_url: str, *words: str, token: str = "hf_test") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "publish", "--run", str(run.path), "--artifacts", str(run.artifacts), *words]
    return subprocess.run(command, cwd=ROOT, env=environment(run, hub_url, token), capture_output=True, text=True, check=False)


def environment(run: RunFile, hub_url: str, token: str = "hf_test") -> dict[str, str]:
    return os.environ | {
        "HF_ENDPOINT": hub_url,
        "HF_TOKEN": token,
        "HF_HOME": str(run.artifacts / "hf-home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "OMP_NUM_THREADS": "1",
    }


def one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The command ended as users' errors end: status 2, one line, no traceback."""
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ") and "Traceback" not in done.stderr
    for part in parts:
        assert part in line


def test_publish_and_load_back(run: RunFile, hub: FakeHub, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    done = publish(run, hub.url, "--confirm")
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["lab/tiny"]
    assert repository.private
    assert set(repository.branches) == {"main", "finetune-step-7"}
    assert repository.tags["v1.0"] == repository.branches["finetune-step-7"]
    files = repository.at("v1.0").files
    for row in open_chain(run, "finetune")["finetune"].body["files"]:
        assert hashlib.sha256(files[row["path"].removeprefix("data/model/")].data).hexdigest() == row["sha256"]

    result = tmp_path / "loaded.pt"
    command = [sys.executable, "-c", LOAD, "lab/tiny", "finetune-step-7", str(result)]
    subprocess.run(command, cwd=ROOT, env=environment(run, hub.url), check=True, capture_output=True)
    ids, logits = torch.load(result)
    folder = run.root("finetune") / "data" / "model"
    assert ids == encode_chat(Tokenizer.load(folder), [{"role": "user", "content": "こんにちは。"}])
    assert torch.equal(logits, AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)(torch.tensor([ids])).logits)


def test_again_changes_nothing(run: RunFile, hub: FakeHub) -> None:
    assert publish(run, hub.url, "--confirm").returncode == 0
    commits, before = dict(hub.repositories["lab/tiny"].branches), len(hub.writes())
    done = publish(run, hub.url, "--confirm")
    assert done.returncode == 0 and "変更はありません" in done.stdout
    assert hub.repositories["lab/tiny"].branches == commits
    assert [call for call in hub.writes()[before:] if "/branch/" not in call] == []


def test_dry_by_default(run: RunFile, hub: FakeHub) -> None:
    done = publish(run, hub.url, token="")
    assert done.returncode == 0, done.stderr
    assert hub.calls == []
    for part in (
        "lab/tiny",
        "非公開",
        "finetune-step-7",
        "v1.0",
        "model.safetensors",
        "CC0-1.0",
        "1.234",
        "何も送信していません",
    ):
        assert part in done.stdout
    size = sum(int(n.replace(",", "")) for n in re.findall(r"^ +([\d,]+)  [0-9a-f]{12}  ", done.stdout, re.MULTILINE))
    assert f"{size:,}  バイト" in done.stdout


def test_repairs_what_differs_and_removes_what_is_not_ours(run: RunFile, hub: FakeHub) -> None:
    assert publish(run, hub.url, "--confirm", "--set", "publish.tag=").returncode == 0
    repository = hub.repositories["lab/tiny"]
    files = dict(repository.at("main").files)
    wanted = dict(files)
    files["old-shard.bin"] = files["config.json"] = files.pop("README.md")
    repository.commit("main", files, "by hand")
    assert publish(run, hub.url, "--confirm", "--set", "publish.tag=").returncode == 0
    assert repository.at("main").files == wanted
    assert len(repository.history("main")) == 4


@pytest.mark.parametrize(
    "faults",
    [
        {"/commit/": [503, 429, "drop", 412]},
        {"/commit/": ["drop_after"]},
        {"/repos/create": ["drop_after"], "/tag/": ["drop_after"], "/lfs-verify": ["drop"]},
    ],
)
def test_faults_that_pass(run: RunFile, hub: FakeHub, faults: dict[str, list]) -> None:
    for part, ordered in faults.items():
        hub.fail(part, *ordered)
    done = publish(run, hub.url, "--confirm", "--set", "publish.main=false")
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["lab/tiny"]
    assert len(repository.history("finetune-step-7")) == 2, "one commit on top of the Hub's own first one"
    assert repository.tags["v1.0"] == repository.branches["finetune-step-7"]
    assert set(repository.at("v1.0").files) >= {"model.safetensors", "config.json", "README.md", "provenance.json"}
    assert "やり直します" in done.stdout


def test_hub_that_stays_down(run: RunFile, hub: FakeHub) -> None:
    hub.fail("/commit/", *[503] * 3)
    one_line(publish(run, hub.url, "--confirm", "--set", "publish.attempts=3"), "ExternalServiceError", "503", "commit to")
    assert hub.repositories["lab/tiny"].tags == {}


def test_refusals(run: RunFile, hub: FakeHub) -> None:
    one_line(publish(run, hub.url, "--confirm", token="hf_wrong"), "401", "HF_TOKEN")
    one_line(publish(run, hub.url, "--confirm", token=""), "ConfigError", "HF_TOKEN")
    one_line(publish(run, hub.url, "--confirm", "--set", "publish.repo_id=others/tiny"), "403", "write access")
    one_line(publish(run, "http://127.0.0.1:9", "--confirm", "--set", "publish.attempts=2"), "does not answer")
    assert hub.repositories == {}


def test_contradicting_repository(run: RunFile, hub: FakeHub) -> None:
    assert publish(run, hub.url, "--confirm").returncode == 0
    before = dict(hub.repositories["lab/tiny"].commits)
    one_line(publish(run, hub.url, "--confirm", "--set", "publish.private=false"), "ConfigError", "is private")
    one_line(publish(run, hub.url, "--confirm", "--set", "publish.title=Other"), "ConfigError", "tag 'v1.0' stands")
    assert hub.repositories["lab/tiny"].commits == before


def test_plan_is_the_same_each_time_and_card_names_everything(run: RunFile) -> None:
    settings = run.settings("publish", PublishSettings)
    plan = make_plan(open_chain(run, "finetune"), settings)
    assert plan == make_plan(open_chain(run, "finetune"), settings)
    texts = {u.path: u.content.decode() for u in plan.uploads if isinstance(u.content, bytes)}
    assert [row["stage"] for row in json.loads(texts["provenance.json"])] == ["finetune", "pretrain", "corpus"]
    card = texts["README.md"]
    for manifest in open_chain(run, "finetune").values():
        assert manifest.digest in card
    for part in ("corpus-text", "finetune-text", "1.234", "2.500", "12,345", "from_pretrained", "license: apache-2.0"):
        assert part in card
    assert str(run.artifacts) not in card + texts["provenance.json"]


def test_card_metadata_is_what_the_client_reads(run: RunFile) -> None:
    from huggingface_hub import ModelCard

    plan = make_plan(
        open_chain(run, "pretrain"),
        build_settings({"repo_id": "a/b", "licence": "MIT", "stage": "pretrain"}, PublishSettings, "t"),
    )
    assert plan.branches == ("step-20", "main")
    content = next(u.content for u in plan.uploads if u.path == "README.md")
    assert isinstance(content, bytes)
    data = ModelCard(content.decode()).data.to_dict()
    assert data["license"] == "mit"
    results = {row["dataset"]["name"]: row["metrics"][0]["value"] for row in data["model-index"][0]["results"]}
    assert results == {"ja_web": 1.234, "total": 1.234}


def test_broken_chain(run: RunFile) -> None:
    assert [row["source"] for row in licences(open_chain(run, "finetune"))] == ["corpus-text", "finetune-text", "pretrain-text"]
    weights = run.root("finetune") / "data" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptArtifact, match=r"model\.safetensors"):
        open_chain(run, "finetune")


def test_chain_of_another_pretraining(run: RunFile, tmp_path: Path) -> None:
    shutil.rmtree(run.root("pretrain"))
    seal(run, "pretrain", {}, {"iterations": 21})
    with pytest.raises(CorruptArtifact, match="made from pretrain"):
        open_chain(run, "finetune")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repo_id": "tiny"}, "owner/name"),
        ({"repo_id": "lab/ti ny"}, "owner/name"),
        ({"branch": "../main"}, "branch"),
        ({"licence": ""}, "licence"),
        ({"stage": "corpus"}, "stage"),
        ({"repo": "lab/tiny"}, "did you mean 'repo_id'"),
    ],
)
def test_bad_settings(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_settings({"repo_id": "lab/tiny", "licence": "mit"} | change, PublishSettings, "t")
