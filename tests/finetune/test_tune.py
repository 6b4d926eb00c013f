"""Training: the loss is the answers' alone, it falls where it should, and the same run gives the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune import __main__ as full
from finetune import lora
from finetune.examples import IGNORED, Example, assemble, encode
from finetune.settings import DataSource, FinetuneSettings
from finetune.sources import Chat, Read, assistant, user
from pipeline.artifact import open_sealed
from pipeline.errors import BadInput, ConfigError, MissingInput
from pipeline.progress import Progress
from pipeline.runfile import RunFile
from tests.finetune.conftest import CONTEXT
from tests.helpers import run_file
from tokenizer.encode import Tokenizer

ROOT = Path(__file__).parents[2]
COMMON = """
epochs = 2
batch_size = 16
learning_rate = 3e-3
threads = 1
device = "cpu"
"""
DATA = "data = [{kind = 'instructions', count = 60}]\n"
TABLES = f"[finetune]{COMMON}{DATA}[lora]{COMMON}{DATA}"


def small_data(base: Path, *, count: int = 25) -> Any:
    """Questions whose answers differ in length and follow from the question's form."""
    rows = [Chat("t", (user(f"{n}は数ですか。"), assistant("はい、数です。" if n % 2 else "はい。"))) for n in range(count)]
    source = DataSource(kind="instructions", name="t")
    return assemble(
        Tokenizer.load(base), [(source, Read(rows, 0, 0))], FinetuneSettings(data=(source,), heldout_share=0.2), CONTEXT
    )


def settings(**changes: Any) -> FinetuneSettings:
    return FinetuneSettings(data=(DataSource(kind="instructions"),), threads=1, device="cpu", warmup=0.0, **changes)


def tuned(base: Path, folder: Path, data: Any, chosen: FinetuneSettings) -> Any:
    from finetune.tune import load_base, prepare, tune

    folder.mkdir(exist_ok=True)
    with Progress("t", 0, "x", events=folder / "events.jsonl") as progress:
        return tune(load_base(base, prepare(chosen)), base, data, chosen, work=folder, progress=progress)


def expected_loss(base: Path, examples: list[Example], *, prompts_too: bool = False) -> float:
    """Mean loss token by token, from log-probabilities in float64, one example at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64, local_files_only=True)
    losses = []
    for example in examples:
        with torch.no_grad():
            log_probs = model(torch.tensor([example.input_ids])).logits[0].log_softmax(-1)
        for place in range(1, len(example.input_ids)):
            if prompts_too or example.labels[place] != IGNORED:
                losses.append(-log_probs[place - 1, example.input_ids[place]].item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("micro_batch", [0, 5])
def test_the_trainers_loss_is_that_of_the_answers(base: Path, tmp_path: Path, micro_batch: int) -> None:
    data = small_data(base)
    size = len(data.training)
    assert size == 20, "one step reads everything"
    result = tuned(base, tmp_path, data, settings(epochs=1, batch_size=size, micro_batch=micro_batch))
    assert result.steps == 1
    expected = expected_loss(base, data.training)
    assert result.losses[0] == pytest.approx(expected, abs=2e-4)
    assert abs(expected_loss(base, data.training, prompts_too=True) - expected) > 2e-3, "the test can tell the two apart"
    assert result.heldout["t"]["before"] == pytest.approx(expected_loss(base, data.heldout), abs=1e-4)


def test_learns_what_can_be_learnt_and_says_so(base: Path, tmp_path: Path) -> None:
    import torch

    data = small_data(base, count=40)
    result = tuned(base, tmp_path, data, settings(epochs=25, batch_size=8, learning_rate=5e-3))
    assert result.heldout["t"]["after"] < 0.3 < 3 < result.heldout["t"]["before"]
    assert result.steps == 25 * 4 == len(result.losses)
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    assert [row["done"] for row in rows] == list(range(1, 101)) and {row["total"] for row in rows} == {100}
    tokenizer = Tokenizer.load(base)
    for number in (3, 8):
        prompt = encode(tokenizer, Chat("t", (user(f"{number}は数ですか。"), assistant("?"))))
        ids = torch.tensor([prompt.input_ids[: prompt.labels.index(next(t for t in prompt.labels if t != IGNORED))]])
        out = result.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        answer = out[0, ids.shape[1] :].tolist()
        assert answer[-1] == tokenizer.eos_id, "the end of the turn is learnt"
        assert tokenizer.decode(answer) == ("はい、数です。" if number % 2 else "はい。")


def test_bf16_training_leaves_a_model_that_computes_in_float32(base: Path, tmp_path: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    chosen = settings(epochs=1, batch_size=8, learning_rate=1e-3, precision="bfloat16")
    result = tuned(base, tmp_path, small_data(base), chosen)
    fresh = LlamaForCausalLM(result.model.config).eval()
    fresh.load_state_dict(result.model.state_dict())
    ids = torch.tensor([[5, 20, 30, 40, 2, 6, 20]])
    with torch.no_grad():
        torch.testing.assert_close(result.model.eval()(ids).logits, fresh(ids).logits, atol=1e-5, rtol=1e-5)


def test_a_loss_that_explodes_is_reported(base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="lower learning_rate"):
        tuned(base, tmp_path, small_data(base), settings(epochs=30, batch_size=8, learning_rate=1e30))


def run_stage(main: Callable[[list[str]], None], run: RunFile) -> Any:
    main(["--run", str(run.path), "--artifacts", str(run.artifacts)])


def test_full_tuning_end_to_end(
    make_run: Callable[[Path, str], RunFile], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    run = make_run(tmp_path / "a", TABLES)
    run_stage(full.main, run)
    sealed = open_sealed(run.root("finetune"), verify_all=True)
    assert sealed.stats["data"]["instructions"]["training"] == 57
    assert sealed.stats["heldout_loss"]["instructions"]["after"] < sealed.stats["heldout_loss"]["instructions"]["before"]
    assert {row["source"] for row in sealed.body["licences"]} == {"ja_web", "finetune/instructions"}
    assert sealed.inputs["pretrain"] == open_sealed(run.root("pretrain")).digest

    folder = sealed.data / "model"
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    hf, tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True), Tokenizer.load(folder)
    assert torch.isfinite(model(torch.tensor([[4, 9, 2]])).logits).all()
    generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
    assert (generation.eos_token_id, generation.pad_token_id) == (tokenizer.eos_id, tokenizer.pad_id)
    messages = [user("こんにちは。"), assistant("はい。"), user("首都は？")]
    rendered = hf.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    from tokenizer.chat import encode_chat

    assert rendered == encode_chat(tokenizer, messages, add_generation_prompt=True)
    assert str(tmp_path) not in "".join(p.read_text("utf-8") for p in folder.iterdir() if p.suffix in (".json", ".jinja"))

    capsys.readouterr()
    run_stage(full.main, run)
    assert "作成済み" in capsys.readouterr().out

    again = make_run(tmp_path / "b", TABLES)
    run_stage(full.main, again)
    assert open_sealed(again.root("finetune")).digest == sealed.digest


def test_lora_end_to_end(make_run: Callable[[Path, str], RunFile], tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    digests = []
    for name in ("a", "b"):
        run = make_run(tmp_path / name, TABLES)
        run_stage(lora.main, run)
        digests.append(open_sealed(run.root("lora"), verify_all=True).digest)
    assert digests[0] == digests[1]
    sealed, pretrained = open_sealed(run.root("lora")), open_sealed(run.root("pretrain"), verify_all=True)
    assert 0 < sealed.stats["parameters"]["trained"] < sealed.stats["parameters"]["all"] / 4

    ids = torch.tensor([[5, 20, 30, 40, 2, 6, 20]])
    load = AutoModelForCausalLM.from_pretrained
    base = load(pretrained.data / "hf", local_files_only=True)
    before = base(ids).logits
    merged = load(sealed.data / "model", local_files_only=True)
    adapted = PeftModel.from_pretrained(base, str(sealed.data / "adapter")).eval()
    torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, atol=1e-5, rtol=1e-4)
    assert (adapted(ids).logits - before).abs().max() > 1e-2, "the adapter does something"
    with adapted.disable_adapter():
        assert torch.equal(adapted(ids).logits, before), "and the base below it is what it was"
    config = json.loads((sealed.data / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "pretrain/t"


def test_killed_and_started_again_gives_the_same_bytes(make_run: Callable[[Path, str], RunFile], tmp_path: Path) -> None:
    tables = TABLES.replace("epochs = 2", "epochs = 6")
    run, whole = make_run(tmp_path / "killed", tables), make_run(tmp_path / "whole", tables)
    command = [sys.executable, "-m", "finetune", "--run", str(run.path), "--artifacts", str(run.artifacts)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    events, deadline = run.root("finetune") / "events.jsonl", time.monotonic() + 120
    while not (events.exists() and events.read_text("utf-8").count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline, "it never came to its third step"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(MissingInput, match="no sealed finetune artifact"):
        open_sealed(run.root("finetune"))
    run_stage(full.main, run)
    run_stage(full.main, whole)
    assert open_sealed(run.root("finetune")).digest == open_sealed(whole.root("finetune")).digest


def test_missing_base_and_unwanted_lora(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = run_file(tmp_path, f"[finetune]{COMMON}data = [{{kind = 'instructions'}}]\n")
    with pytest.raises(MissingInput, match="no sealed pretrain artifact"):
        run_stage(full.main, run)
    run_stage(lora.main, run)
    assert "[lora] がないため省略" in capsys.readouterr().out


def test_dry_run_needs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = run_file(tmp_path, TABLES)
    for main in (full.main, lora.main):
        main(["--run", str(run.path), "--artifacts", str(run.artifacts), "--dry-run"])
    assert capsys.readouterr().out.count("instructions 60 件") == 2
    assert not run.artifacts.exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("epoch = 3", "did you mean 'epochs'"),
        ("micro_batch = 5", "not a multiple of micro_batch"),
        ("max_tokens = 1000", "the model's context is 96"),
        ("targets = ['q_proj', 'query']", r"no linear layer \['query'\]"),
    ],
)
def test_bad_settings(make_run: Callable[[Path, str], RunFile], tmp_path: Path, extra: str, message: str) -> None:
    run = make_run(tmp_path, f"[lora]{COMMON}{extra}\n{DATA}")
    with pytest.raises(ConfigError, match=message):
        run_stage(lora.main, run)
    assert not (run.root("lora") / "manifest.json").exists()
