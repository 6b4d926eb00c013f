"""`make batch` and `make when`: they print what the packed data and the order contain."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from megatron.core.datasets.indexed_dataset import IndexedDataset

from pipeline.artifact import Manifest, begin_artifact, open_sealed
from pipeline.errors import BadInput, MissingInput
from pipeline.reading_order import Order, TokenSpan
from pipeline.runfile import RunFile
from pretrain.batches import BatchSchedule
from pretrain.order import __main__ as order_command
from pretrain.pack.copies import Copy
from pretrain.train.data import DataSettings, build_datasets
from tests.pretrain.helpers.corpora import CORPUS, arguments, identifier
from tests.pretrain.helpers.ranks import alone
from tokenizer.encode import Tokenizer

PLAN = DataSettings(seq_length=32, iterations=12, batch_schedule=BatchSchedule(4), seed=5)


@pytest.fixture(scope="module")
def trained(packed: tuple[RunFile, Manifest], tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFile, Order]:
    """The packed run with a pretrain artifact that has an order, as if a model had been trained."""
    run, pack = packed
    with begin_artifact(run, "pretrain", {}, {"pack": pack.digest}, recipe=1) as artifact:
        if artifact.sealed is None:
            with alone():
                datasets = build_datasets(pack.data, PLAN, eos_id=2, cache=tmp_path_factory.mktemp("cache"))
            datasets.save_order(artifact.data / "order")
            artifact.seal({"undone": [[2, 3]]})
    return run, Order.open(artifact.data / "order", pack.data)


def test_an_iteration_is_shown_in_brief(trained: tuple[RunFile, Order], capsys: pytest.CaptureFixture[str]) -> None:
    run, order = trained
    by_id = {identifier(stem[:6].rstrip("-"), text): text for stem, rows in CORPUS.items() for text in rows}
    for iteration in (1, order.total):
        order_command.main([*arguments(run), "--iteration", str(iteration), "--brief"])
        out = capsys.readouterr().out
        assert f"イテレーション {iteration}/{order.total} が読んだ文書" in out
        spans = order.documents(iteration)
        shown = re.findall(r"^  ([0-9a-f]{32})  \[([\d,]+), ([\d,]+)\)", out, re.MULTILINE)
        assert sorted((i, int(b.replace(",", "")), int(e.replace(",", ""))) for i, b, e in shown) == sorted(
            s[2:] for s in spans
        )
        for span in spans:
            if span.begin == 0 and span.end - span.begin > 8:  # the line shows the beginning of the text
                line = next(row for row in out.splitlines() if row.startswith(f"  {span.doc_id}  [0, {span.end:,})"))
                assert line.split(")", 1)[1].strip()[:5] == " ".join(by_id[span.doc_id].split())[:5]
        for source in {span.source for span in spans}:
            tokens = sum(s.end - s.begin for s in spans if s.source == source)
            assert re.search(rf"^{source}: \d+ 文書  {tokens:,} トークン$", out, re.MULTILINE)


def test_an_iteration_is_shown_with_the_text_that_it_read(
    trained: tuple[RunFile, Order], packed: tuple[RunFile, Manifest], capsys: pytest.CaptureFixture[str]
) -> None:
    run, order = trained
    tokenizer = Tokenizer.load(open_sealed(run.root("tokenizer")).data)
    by_id = {identifier(stem[:6].rstrip("-"), text): text for stem, rows in CORPUS.items() for text in rows}
    folders = [packed[1].data / source for source in ("ja_man", "ja_web")]
    megatron = {folder.name: IndexedDataset(str(folder / "train")) for folder in folders}
    numbers = {folder.name: pq.read_table(folder / "train.parquet")["doc_id"].to_pylist() for folder in folders}
    whole = 0
    for iteration in range(1, order.total + 1):
        order_command.main([*arguments(run), "--iteration", str(iteration)])
        out = capsys.readouterr().out
        order_command.main([*arguments(run), "--iteration", str(iteration), "--json"])
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert sorted(TokenSpan(*(row[name] for name in TokenSpan._fields)) for row in rows) == sorted(
            order.documents(iteration)
        )
        for row in rows:
            tokens = np.asarray(megatron[row["source"]][numbers[row["source"]].index(row["doc_id"])])
            assert row["text"] == tokenizer.decode(tokens[row["begin"] : row["end"]].tolist())
            assert row["undone"] == (iteration in (2, 3)) == ("重みには残っていません" in out)
            head = f"  {row['doc_id']}  [{row['begin']:,}, {row['end']:,})  {row['title']}"
            assert f"{head}\n{'…' if row['begin'] else ''}{row['text']}\n\n" in out
            if (row["begin"], row["end"]) == (0, len(tokens)):
                assert row["text"] == by_id[row["doc_id"]]
                whole += 1
    assert whole > 5


def test_a_document_names_its_iterations(
    trained: tuple[RunFile, Order], packed: tuple[RunFile, Manifest], capsys: pytest.CaptureFixture[str]
) -> None:
    run, order = trained
    seen = order.documents(3)[0]
    order_command.main([*arguments(run), "--doc", seen.doc_id])
    out = capsys.readouterr().out
    iterations = order.iterations(seen.source, seen.doc_id)
    assert 3 in iterations
    assert f"イテレーション: {', '.join(map(str, iterations))} (全 {order.total} 中 {len(iterations)} 回)" in out
    discarded = [i for i in iterations if i in (2, 3)]
    assert 3 in discarded and f"重みに残っていないもの: {', '.join(map(str, discarded))}\n" in out
    order_command.main([*arguments(run), "--doc", seen.doc_id, "--json"])
    read = json.loads(capsys.readouterr().out)
    assert (read["doc_id"], read["source"]) == (seen.doc_id, seen.source)
    assert (read["iterations"], read["undone"], read["copy"]) == (list(iterations), discarded, None)
    held_out = pq.read_table(packed[1].data / "ja_web" / "valid.parquet")["doc_id"][0].as_py()
    order_command.main([*arguments(run), "--doc", held_out])
    assert "未読" in capsys.readouterr().out


def test_a_copy_of_a_held_out_document_is_named_as_one(
    trained: tuple[RunFile, Order], packed: tuple[RunFile, Manifest], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run, _ = trained
    held_out = pq.read_table(packed[1].data / "ja_web" / "valid.parquet")["doc_id"][0].as_py()
    monkeypatch.setattr(
        order_command, "read_copies", lambda path: [Copy(held_out, "f" * 32, 0.75)] if "ja_web" in str(path) else []
    )
    order_command.main([*arguments(run), "--doc", held_out])
    assert f"{'f' * 32} の写し (その本文の 75% を含む)" in capsys.readouterr().out


def test_control_characters_do_not_reach_the_terminal() -> None:
    span = TokenSpan(1, "s", "0" * 32, 5, 9)
    rows = [order_command.SpanText(span, "題\x1b]0;x\x07", "一\t行\n二\x1b[31m行\r\x9b")]
    out = "\n".join(order_command.render_iteration(rows, SimpleNamespace(total=3), False, brief=False))  # pyright: ignore[reportArgumentType]
    assert out.splitlines()[2:] == [f"  {'0' * 32}  [5, 9)  題\ufffd]0;x\ufffd", "…一\t行", "二\ufffd[31m行", "\ufffd"]


def test_bad_questions_are_refused_in_one_line(trained: tuple[RunFile, Order]) -> None:
    run, order = trained
    for iteration in ("0", str(order.total + 1)):
        with pytest.raises(BadInput, match=f"the run has iterations 1 to {order.total}"):
            order_command.main([*arguments(run), "--iteration", iteration])
    with pytest.raises(BadInput, match="no such document"):
        order_command.main([*arguments(run), "--doc", "あ"])


def test_the_module_fails_with_one_line(tmp_path: Path) -> None:
    run = tmp_path / "t.toml"
    run.write_text("[pretrain]\n")
    command = [sys.executable, "-m", "pretrain.order", "--run", str(run), "--artifacts", str(tmp_path), "--iteration", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (
        done.returncode == 2
        and done.stderr.startswith(f"error: {MissingInput.__name__}: ")
        and len(done.stderr.splitlines()) == 1
    )
