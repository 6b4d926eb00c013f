"""The tokenizer report: figures counted by hand, sums that must hold for any cut, texts that the training did not read."""

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers

from pipeline.artifact import open_sealed
from pipeline.documents import document_files
from pipeline.errors import BadInput, MissingInput, RecipeDrift
from tests.helpers import run_file
from tests.tokenizer.helpers.corpus import documents, seal_corpus
from tests.tokenizer.helpers.strategies import texts
from tokenizer.analyzer import WordAnalyzer, load_analyzer
from tokenizer.encode import Tokenizer
from tokenizer.report import texts as report_texts
from tokenizer.report.__main__ import main, report
from tokenizer.report.measure import count_unused_pieces, first_difference, measure, tokens_per_script
from tokenizer.report.others import Cut, HuggingFace, OwnTokenizer, ReportTokenizer
from tokenizer.report.page import parts, printable, render, shown
from tokenizer.report.scripts import NAMES, script, scripts
from tokenizer.report.texts import LONG_SENTENCE, Source, excerpts, held_out
from tokenizer.report.texts import given as given_texts
from tokenizer.settings import TokenizerSettings
from tokenizer.train.sample import draw, sentences

ROOT = Path(__file__).parents[3]
TABLE = '[tokenizer]\nvocab_size = 1280\nmax_characters = 30_000\ncharacter_coverage = 0.98\nrecipe = "bpe"\n'


def toy(normalizer: object = None) -> ReportTokenizer:
    """Words of a list, longest merge first; characters that are none of its pieces become bytes."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"東京はABC12。\n ", "東京", "AB", "東京は"]
    vocab = {piece: token for token, piece in enumerate(pieces)}
    model = models.BPE(vocab, [("東", "京"), ("A", "B"), ("東京", "は")], unk_token="<unk>", byte_fallback=True)
    made = tokenizers.Tokenizer(model)
    steps = [decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence(steps)  # pyright: ignore[reportAttributeAccessIssue]
    if normalizer is not None:
        made.normalizer = normalizer  # pyright: ignore[reportAttributeAccessIssue]
    return HuggingFace("toy", made)


def words(*known: str) -> WordAnalyzer:
    """An analyzer that knows these words and takes the rest a character at a time."""

    def cut(stretch: str) -> list[str]:
        found, place = [], 0
        while place < len(stretch):
            word = next((word for word in known if stretch.startswith(word, place)), stretch[place])
            found.append(word)
            place += len(word)
        return found

    return WordAnalyzer("by hand", cut)


def test_figures_by_hand() -> None:
    # 東京は|AB|C|1|2|\n|東京|。 and the four bytes of 🙂: 3+2+1+1+1+1+2+1+1 = 13 characters, 12 tokens.
    text = "東京はABC12\n東京。🙂"
    found = measure(toy(), {"s": Source("documents", [text], 2, 26)}, words("東京"))
    row = found["sources"]["s"]
    assert (row["texts"], row["characters"], row["tokens"]) == (1, 13, 12)
    assert row["bytes"] == 9 + 3 + 2 + 1 + 6 + 3 + 4
    assert row["characters_per_token"] == round(13 / 12, 4)
    assert row["bytes_per_token"] == round(28 / 12, 4)
    assert row["tokens_per_document"] == 12.0  # documents of 13 characters on average
    # 東京は gives a third to は and two thirds to 東京; 🙂 has its four bytes.
    tokens = {name: script_row["tokens"] for name, script_row in row["scripts"].items()}
    assert tokens == pytest.approx(
        {"hiragana": 1 / 3, "kanji": 2 / 3 + 1, "latin": 2, "digit": 2, "space": 1, "symbol": 5}, abs=1e-5
    )
    assert row["scripts"]["kanji"] == {"characters": 4, "tokens": 1.666667, "characters_per_token": round(4 / (5 / 3), 4)}
    # Words 東京|は|ABC|1|2 and 東京|。|🙂. Inside lines, words begin at 5 places of the first line less one, and at 2 of the
    # second (🙂 is punctuation of a pattern): 4 + 2; tokens at AB, C, 1, 2 and 。, 🙂: of these C is not a word's start.
    edges = row["boundaries"]
    assert (edges["precision"], edges["recall"]) == (round(5 / 6, 5), round(5 / 6, 5))
    assert edges["straddle_share"] == 0.0  # 東京は is two whole words
    assert row["round_trip"] == {"texts": 1, "lost": 0, "first": None}
    # <unk>, the raw bytes but four, 12 single characters and three merged pieces; 9 distinct tokens and 4 bytes are used.
    assert found["used_pieces"] == len({"東京は", "AB", "C", "1", "2", "\n", "東京", "。"}) + 4


def test_a_token_over_a_word_edge_straddles() -> None:
    found = measure(toy(), {"s": Source("documents", ["東京はAB"], 1, 5)}, words("京は"))
    assert found["all"]["boundaries"]["straddle_share"] == 0.0  # 東|京は are two whole words of the token
    found = measure(toy(), {"s": Source("documents", ["東京。"], 1, 3)}, words("京。"))
    assert found["all"]["boundaries"]["straddle_share"] == 0.5  # 東京 has 東 and part of 京。; 。 is in one word


def test_a_figure_of_all_sources_is_over_all_texts() -> None:
    sources = {"a": Source("documents", ["東京は東京は"], 1, 6), "b": Source("lines", ["AB", "ABC"], 2, 5)}
    found = measure(toy(), sources, words("東京"))
    assert (found["all"]["texts"], found["all"]["characters"], found["all"]["tokens"]) == (3, 11, 2 + 1 + 2)
    assert found["all"]["characters_per_token"] == 11 / 5
    assert found["sources"]["b"]["characters_per_token"] == round(5 / 3, 4)


def test_a_text_that_does_not_come_back_is_counted_and_shown() -> None:
    lossy = toy(normalizers.Lowercase())  # a, b, c are no pieces: bytes
    found = measure(lossy, {"s": Source("documents", ["東京", "東京はABC", "A"], 3, 9)}, words())
    trip = found["all"]["round_trip"]
    assert (trip["texts"], trip["lost"]) == (3, 2)
    assert trip["first"] == {"character": "3", "expected": "東京はABC", "found": "東京はabc"}


@pytest.mark.parametrize(
    ("text", "back", "place"), [("abc", "abd", "2"), ("abc", "ab", "2"), ("ab", "abc", "2"), ("", "x", "0")]
)
def test_the_first_difference(text: str, back: str, place: str) -> None:
    assert first_difference(text, back)["character"] == place


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[str, Cut]:
    """A text and tokens that cover it: of several characters, of nothing, and several in one character."""
    text = draw(st.text(min_size=1, max_size=30))
    begins, ends, place = [], [], 0
    while place < len(text):
        for _ in range(draw(st.integers(0, 1))):
            begins.append(place)
            ends.append(place)
        after = min(place + draw(st.integers(1, 5)), len(text))
        for _ in range(draw(st.integers(1, 4)) if after == place + 1 else 1):
            begins.append(place)
            ends.append(after)
        overlap = draw(st.booleans()) and after > place + 1 and after < len(text)  # the next has the rest of a character
        place = after - 1 if overlap else after
    ids = np.arange(len(begins))
    return text, Cut(ids, np.array(begins, np.int64), np.array(ends, np.int64))


@given(case=cut_texts())
def test_tokens_of_the_scripts_add_up_to_all_tokens(case: tuple[str, Cut]) -> None:
    text, cut = case
    found = tokens_per_script(cut, scripts(text))
    exact = dict.fromkeys(NAMES, Fraction(0))
    for begin, end in zip(cut.begins.tolist(), cut.ends.tolist(), strict=True):
        covered = text[begin:end] or text[begin]
        for character in covered:
            exact[script(character)] += Fraction(1, len(covered))
    assert sum(exact.values()) == len(cut.ids)
    assert found.tolist() == pytest.approx([float(exact[name]) for name in NAMES])
    assert found.sum() == pytest.approx(len(cut.ids))


def test_tokens_of_an_empty_text_are_not_lost() -> None:
    assert tokens_per_script(Cut(np.array([7]), np.array([0]), np.array([0])), scripts("")).sum() == 1


def test_vocabulary_by_hand() -> None:
    found = measure(toy(), {"s": Source("documents", ["東"], 1, 1)}, words())["vocabulary"]
    assert {name: sum(row) for name, row in found["classes"].items()} == {
        "hiragana": 1, "kanji": 3, "latin": 4, "digit": 2, "space": 2, "symbol": 1, "japanese": 1, "byte": 256, "mixed": 1,
    }  # fmt: skip  # <unk> is a piece of letters and signs here: the toy does not say that it is special
    assert found["classes"]["kanji"][:2] == [2, 1]
    assert found["classes"]["japanese"][:3] == [0, 0, 1]
    assert found["spaced_japanese"] == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sealed corpus of two sources and a tokenizer trained on part of it."""
    folder = tmp_path_factory.mktemp("made")
    seal_corpus(run_file(folder, TABLE), {"a": documents("a", 40), "b": documents("b", 40)})
    command = [sys.executable, "-m", "tokenizer", "--run", str(folder / "t.toml"), "--artifacts", str(folder / "artifacts")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_dead_pieces_are_those_that_no_text_has(made: Path) -> None:
    tokenizer = Tokenizer.load(made / "artifacts" / "tokenizer" / "t" / "data")
    batches = [documents("a", 5)[:2], documents("b", 5)[:1]]
    used = {token for batch in batches for text in batch for token in tokenizer.encode(text)}
    found = count_unused_pieces(tokenizer, batches)
    assert (found["documents"], found["characters"]) == (3, sum(len(text) for batch in batches for text in batch))
    classes = found["classes"]
    assert sum(row["pieces"] for row in classes.values()) == tokenizer.vocab_size
    assert sum(row["dead"] for row in classes.values()) == tokenizer.vocab_size - len(used)
    assert classes["byte"]["pieces"] == 256
    assert classes["control"]["dead"] == classes["control"]["pieces"] == 16
    assert found["dead"] == sum(row["dead"] for name, row in classes.items() if name not in ("byte", "control")) > 0
    for example in classes["kanji"]["examples"]:
        assert all(tokenizer.token_bytes(token).decode(errors="replace") != example for token in used)


def sample_of(made: Path, settings_: TokenizerSettings) -> tuple[list[Path], set[str]]:
    files = document_files(open_sealed(made / "artifacts" / "corpus" / "t"))
    return files, set(draw(files, settings_))


@pytest.mark.parametrize(("share", "rule"), [(0.002, "documents"), (0.2, "documents"), (0.6, "lines"), (0.9, "lines")])
def test_no_sentence_that_is_measured_was_drawn(made: Path, share: float, rule: str) -> None:
    files, everything = sample_of(made, TokenizerSettings(1280, 10**9))
    settings_ = TokenizerSettings(1280, round(sum(map(len, everything)) * share))
    _, drawn = sample_of(made, settings_)
    found = held_out(files, settings_)
    assert sorted(found) == ["a", "b"]
    for source in found.values():
        assert source.rule == rule
        assert source.characters > 100
        least = LONG_SENTENCE if rule == "documents" else 1
        assert rule == "documents" or all(line for text in source.texts for line in text.split("\n"))
        for text in source.texts:
            for line in text.split("\n"):
                assert not [part for part in sentences(line) if len(part) >= least and part in drawn]


def test_where_the_training_read_everything_the_report_says_so(made: Path) -> None:
    files, _ = sample_of(made, TokenizerSettings(1280, 10**9))
    found = held_out(files, TokenizerSettings(1280, 10**9, held_out_share=0.0))
    assert {source.rule for source in found.values()} == {"trained"}
    assert all(sorted(found[name].texts) == sorted(documents(name, 40)) for name in "ab")


def test_of_much_text_the_documents_of_the_lowest_keys_are_measured(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, _ = sample_of(made, TokenizerSettings(1280, 10**9))
    whole = held_out(files, TokenizerSettings(1280, 10**9))["a"].texts
    monkeypatch.setattr(report_texts, "MAX_CHARACTERS", 3000)
    some = held_out(files, TokenizerSettings(1280, 10**9))["a"].texts
    assert 0 < len(some) < len(whole)
    assert some == whole[: len(some)]
    assert sum(map(len, some)) <= 3000 < sum(map(len, whole[: len(some) + 1]))


def test_excerpts_are_beginnings() -> None:
    long = "これは文です。" * 100
    sources = {"a": Source("lines", ["短い。", long, "", long + "終"], 4, 4), "TEXT": Source("given", ["全部\n見せる"], 1, 1)}
    found = excerpts(sources, 2, 50)
    assert found == [("a", "これは文です。" * 7), ("a", "これは文です。" * 7), ("TEXT", "全部\n見せる")]


def test_files_that_a_person_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("東京", "utf-8")
    (tmp_path / "b.txt").write_bytes("東京".encode("cp932"))
    (tmp_path / "c.txt").write_bytes(b"")
    assert given_texts([tmp_path / "a.txt"]).texts == ["東京"]
    for name, kind, said in (("b", BadInput, "not UTF-8"), ("c", BadInput, "empty"), ("d", MissingInput, "no such file")):
        with pytest.raises(kind, match=f"TEXT .*{name}.txt: {said}"):
            given_texts([tmp_path / f"{name}.txt"])


@given(case=cut_texts(), starts=st.sets(st.integers(0, 29)))
def test_the_runs_of_a_cut_are_the_text_and_show_every_token_and_word(case: tuple[str, Cut], starts: set[int]) -> None:
    text, cut = case
    runs = parts(text, cut, starts)
    assert "".join(piece for run in runs for piece, _ in run["pieces"]) == text
    place, seen, marked = 0, set[int](), set[int]()
    for run in runs:
        covering = [t for t in range(len(cut.ids)) if cut.begins[t] <= place < cut.ends[t]]
        assert (run["ids"], run["shared"]) == (covering, len(covering))
        seen.update(run["ids"])
        for piece, word in run["pieces"]:
            if word:
                marked.add(place)
            place += len(piece)
    assert seen == {t for t in range(len(cut.ids)) if cut.begins[t] < cut.ends[t]}
    assert marked == {start for start in starts if start < len(text)}


class Page(HTMLParser):
    """What a browser would see: balanced elements, attributes, the text of every cut."""

    VOID = frozenset({"meta", "br", "link", "img", "hr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cuts: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.VOID:
            return
        self.open.append(tag)
        if dict(attrs).get("class") == "cut":
            self.cuts.append("")
            self.depth = len(self.open)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1] == tag, (self.getpos(), self.open)
        if len(self.open) == self.depth:
            self.depth = 0
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.cuts[-1] += data


@settings(max_examples=40)
@given(strange=texts.filter(bool))
def test_the_page_is_whole_and_holds_every_text_as_each_tokenizer_cuts_it(made: Path, strange: str) -> None:
    ours = OwnTokenizer('x"><script src="http://x">', Tokenizer.load(made / "artifacts" / "tokenizer" / "t" / "data"))
    subjects, sources = (
        [ours, toy()],
        {"<b>": Source("lines", [strange], 1, len(strange)), "b": Source("given", ["東京は"], 1, 3)},
    )
    analyzer = load_analyzer("none")
    found = {
        "run": "r&", "tokenizer": "sha256:1", "corpus": "sha256:2", "analyzer": "none",
        "measured": {n: {"rule": s.rule, "texts": 1, "characters": 1, "documents": 1} for n, s in sources.items()},
        "tokenizers": [measure(subject, sources, analyzer) for subject in subjects],
        "dead": count_unused_pieces(ours.tokenizer, [[strange]]),
    }  # fmt: skip
    page = Page()
    page.feed(render(found, [shown("<b>", strange, subjects, analyzer), shown("b", "東京は", subjects, analyzer)]))
    page.close()
    assert page.open == []
    assert page.cuts == [printable(strange)] * 2 + ["東京は"] * 2
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "svg:use"})
    for _, attributes in page.tags:
        assert not {"src", "onload", "onclick", "srcset", "data"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
        assert "url(" not in (attributes.get("style") or "")


def test_the_stage_as_it_is_run(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "extra text.txt"
    own.write_text("吾輩は猫である。\n名前はまだ無い。", "utf-8")
    shutil.copytree(made / "artifacts" / "tokenizer" / "t" / "data", tmp_path / "other")
    (tmp_path / "other" / "tokenizer.model").unlink()  # leaves tokenizer.json: the same vocabulary through another library
    options = ["--run", str(made / "t.toml"), "--artifacts", str(made / "artifacts"), "--with", str(tmp_path / "other")]
    main([*options, "--text", f"'{own}'", "--json"])
    found = json.loads(capsys.readouterr().out)
    ours, other = found["tokenizers"]
    assert list(found["measured"]) == ["a", "b", "TEXT"]
    assert found["measured"]["TEXT"]["characters"] == 17
    for key in ("sources", "all", "used_pieces", "vocab_size"):
        assert ours[key] == other[key]
    assert ours["all"]["round_trip"]["lost"] == 0
    for row in [ours["all"], *ours["sources"].values()]:
        assert sum(scripts_["tokens"] for scripts_ in row["scripts"].values()) == pytest.approx(row["tokens"], abs=1e-4)
        assert sum(scripts_["characters"] for scripts_ in row["scripts"].values()) == row["characters"]
    page = made / "artifacts" / "tokenizer" / "t" / "report.html"
    assert "吾" in page.read_text("utf-8")
    assert "http" not in page.read_text("utf-8").replace("http-equiv", "")
    open_sealed(made / "artifacts" / "tokenizer" / "t", verify_all=True)  # the page is not part of the artifact
    main(options)
    assert f"報告書: {page}" in capsys.readouterr().out


def test_another_corpus_than_the_tokenizers_is_an_error(made: Path, tmp_path: Path) -> None:
    other = seal_corpus(run_file(tmp_path, TABLE), {"a": ["別の文章です。"]})
    with pytest.raises(RecipeDrift, match=r"trained on corpus \w{8}, but .+ is \w{8}; make the tokenizer again"):
        report(other, open_sealed(made / "artifacts" / "tokenizer" / "t"), [], load_analyzer("none"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--with", "/nowhere"], "error: MissingInput: /nowhere: no such file or folder"),
        (["--with", "pypi:thing"], "error: ConfigError: pypi:thing: expected pypi:name==version"),
        (["--with", "'open"], 'error: ConfigError: --with "\'open": No closing quotation'),
        (["--text", "/nowhere"], "error: MissingInput: TEXT /nowhere: no such file"),
        (["--analyzer", "nothing"], "error: ConfigError: [tokenizer] analyzer = 'nothing'"),
    ],
)
def test_errors_are_one_clear_line(made: Path, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "tokenizer.report", "--run", str(made / "t.toml"), "--artifacts", str(made / "artifacts")]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(said)
    assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1
