"""Verdicts and speed of the presets llmjp-v1 and llmjp-v1-strict against LLM-jp's own filters run through hojichar.

The oracle is written from github.com/llm-jp/llm-jp-corpus, scripts/filter_data.py and filters.py (ja_cc): the same hojichar
classes with the same arguments in the same order, on the word lists that hojichar ships.
"""

import argparse
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

from corpus.filters import rules
from corpus.filters.cleaners import clean
from corpus.filters.rules import Preset, load_preset

PRESETS = ("llmjp-v1", "llmjp-v1-strict")
COMPRESSION = ("compression_min", "compression_max")
LAST_LABELS = frozenset(("jp", "com", "net", "org", "work", "info", "xyz", "biz", "me", "tv", "site", "tokyo", "cc"))
LISTS = ("ads", "adult", "discrimination", "violence")
MIN_DOCUMENTS, MIN_FIRED, MIN_RATIO = 20_000, 100, 20.0
# Characters of a piece of a work or article: a page of the crawl has 700 in the median.
PIECE = 600
BATCH = 256
Judge = Callable[[str, str], bool]  # (text, url): whether it stays


@dataclass(frozen=True)
class Oracle:
    """LLM-jp's filters in their order, under the names of our rules."""

    filters: tuple[tuple[str, Judge], ...]

    @staticmethod
    def make(strict: bool = False) -> "Oracle":
        from hojichar import Document
        from hojichar.filters.document_filters import AcceptJapanese, DiscardAds, DiscardRareKuten, NgWordsFilterJa

        def of(content_filter: "AcceptJapanese | DiscardAds | DiscardRareKuten") -> Judge:
            return lambda text, url: not content_filter.apply(Document(text)).is_rejected

        def ng_words(name: str) -> Judge:
            pattern = NgWordsFilterJa(_word_file(name), ignore_confused=True).keyword_pat
            return lambda text, url: len(pattern.findall(text)) <= (2 if strict else 3)

        return Oracle(
            (
                ("denied_host", lambda text, url: not url.startswith("https://ja.wikipedia.org/")),
                ("domain", lambda text, url: _last_label(url) in LAST_LABELS),
                ("filled", lambda text, url: text.strip() != ""),
                ("first_kana", of(AcceptJapanese())),
                ("ads", of(DiscardAds(max_allowed_num=10))),
                *((name, ng_words(name)) for name in LISTS[1:]),
                ("rare_kuten", of(DiscardRareKuten(max_average_sentence_length=80 if strict else 250))),
                ("compression_min", lambda text, url: _compression(text) >= (0.375 if strict else 0.30)),
                ("compression_max", lambda text, url: _compression(text) <= 0.70),
            )
        )

    def first_failure(self, text: str, url: str, without: Sequence[str] = ()) -> str:
        """Name of the first filter that drops the document, "" for none; the later ones are not run, as in theirs."""
        return next((name for name, stays in self.filters if name not in without and not stays(text, url)), "")


def _word_file(name: str) -> str:
    from hojichar.filters.document_filters import BASE_PATH

    return str(BASE_PATH / f"dict/{'advertisement' if name == 'ads' else name}_keywords_ja.txt")


def _last_label(url: str) -> str:
    """As theirs, but for addresses without a host, for which theirs raises an AssertionError: "" here, so they are dropped."""
    return (urlparse(url).hostname or "").split(".")[-1]


def _compression(text: str) -> float:
    encoded = text.encode("utf-8")
    return len(zlib.compress(encoded, level=9)) / len(encoded) if encoded else 0.0


def real_documents(data: Path) -> Iterator[tuple[str, str]]:
    """(text, url) of pieces of Aozora works, of Wikipedia articles whole and in pieces, and of the pages of the crawl."""
    from corpus.extract.document import Extracted, extract
    from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

    sources = (
        SourceSettings("aozora", "parquet", "", "", path=str(data / "aozora.parquet"), cleaner="aozora"),
        SourceSettings("wiki", "jsonl", "", "", path=str(data / "wikipedia-ja.jsonl.gz"), url_column="url"),
        SourceSettings("web", "warc", "", "", path=str(data / "web-ja.warc.gz")),
    )
    for source in sources:
        for shard in plan_shards(source, None):
            for number, record in enumerate(read_shard(shard)):
                got = extract(record) if isinstance(record, RawDocument) else record
                if not isinstance(got, Extracted):
                    continue
                if source.name != "aozora":
                    yield got.text, record.url
                if source.name != "web":
                    yield from ((piece, f"https://{source.name}.example.jp/{number}") for piece in pieces(got.text))


def pieces(text: str, length: int = PIECE) -> Iterator[str]:
    """The text cut at line ends into pieces of at least `length` characters."""
    piece = ""
    for line in text.split("\n"):
        piece += line + "\n"
        if len(piece) >= length:
            yield piece
            piece = ""


def built_documents(prose: Sequence[str], count: int, seed: int = 3) -> Iterator[tuple[str, str]]:
    """(text, url) of texts around real prose, `count` for each rule, on either side of its thresholds."""
    draw = random.Random(seed)
    words = {name: [w for w in Path(_word_file(name)).read_text("utf-8").split("\n") if w] for name in LISTS}
    spaces = " \t\n\r\u3000\u00a0\u2028\u0085\x1c\x1f"
    good = "https://a.example.jp/x"
    for _ in range(count):
        text = draw.choice(prose)
        yield text, f"https://ja.wikipedia.org/wiki/{draw.randrange(99)}"
        yield (
            text,
            draw.choice(("http://a.de/", "https://jp.cn/a.jp", "//b.co.uk/", "a.html", "http://x.JP./", "http://1.2.3.4:80/")),
        )
        yield "".join(draw.choices(spaces, k=draw.randrange(6))), good
        head = "".join(draw.choices("漢字ABC 12、。ーヴ", k=draw.choice((47, 48, 49, 50, 51, 90))))
        yield head + text, good
        for name, most in (("ads", 14), ("adult", 6), ("discrimination", 6), ("violence", 6)):
            chosen = [draw.choice(words[name]) for _ in range(draw.randrange(most // 3, most + 1))]
            yield _with(text, chosen, draw), good
        yield _rarer_kuten(text, draw), good
        yield "\n".join([text[: draw.randrange(60, 200)]] * draw.randrange(3, 40)), good
        yield text[: draw.randrange(10, 90)] + "。", good


def _with(text: str, words: Sequence[str], draw: random.Random) -> str:
    """The text with the words put in at random places, some of them side by side or among katakana."""
    for word in words:
        at = draw.randrange(len(text) + 1)
        text = (
            text[:at]
            + draw.choice(("", "", "", "ア", "ー", "、", word))
            + word
            + draw.choice(("", "", "", "ン", " "))
            + text[at:]
        )
    return text


def _rarer_kuten(text: str, draw: random.Random) -> str:
    """The text cut so that it holds exactly, or one character more or less than, 80 or 250 characters for each 。 left."""
    most, left = draw.choice(((80, 3), (80, 5), (250, 1), (250, 2), (250, 0)))
    bare = text.replace("。", "、")[: max(1, most * left + draw.choice((-1, 0, 0, 1)) - left)]
    return bare + "。" * left


def compare(
    documents: Sequence[tuple[str, str]], preset: Preset, oracle: Oracle
) -> tuple[Counter[str], Counter[str], list[str]]:
    """Run every filter of the oracle on every document against our table.

    Returns: how often each rule is the first to fail, how often it fails at all, and what differs, a line each.
    """
    first: Counter[str] = Counter()
    fired: Counter[str] = Counter()
    differences: list[str] = []
    names = [rule.name for rule in preset.rules]
    for batch in _batches(documents):
        values_DR = rules.values(rules.table([text for text, _ in batch], [url for _, url in batch], preset), preset)
        ours_DR = rules.failures(values_DR, preset)
        ours = rules.verdicts(values_DR, preset).tolist()
        theirs_DR = np.array([[not stays(text, url) for _, stays in oracle.filters] for text, url in batch])
        for place, (text, url) in enumerate(batch):
            failed = [names[i] for i in np.flatnonzero(theirs_DR[place])]
            fired.update(failed)
            first[failed[0] if failed else ""] += 1
            mine = names[ours[place]] if ours[place] >= 0 else ""
            if mine != (failed[0] if failed else "") or (text and not np.array_equal(ours_DR[place], theirs_DR[place])):
                wrong = [names[i] for i in np.flatnonzero(ours_DR[place] != theirs_DR[place])]
                differences.append(f"{wrong}: theirs {failed}, ours {mine!r}: {url} {text[:60]!r}")
    return first, fired, differences


def _batches(documents: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    yield from (documents[at : at + BATCH] for at in range(0, len(documents), BATCH))


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _speed(documents: Sequence[tuple[str, str]], oracle: Oracle, out: Callable[[str], None]) -> float:
    """Print MB/s of both; returns how many times as fast ours is without compression."""
    preset = load_preset("llmjp-v1")
    bare = load_preset("llmjp-v1", dict.fromkeys(COMPRESSION, False))
    only = load_preset("llmjp-v1", {rule.name: False for rule in preset.rules if rule.name not in COMPRESSION})

    def theirs() -> None:
        for text, url in documents:
            oracle.first_failure(text, url, COMPRESSION)

    def ours(chosen: Preset) -> None:
        for batch in _batches(documents):
            table_DC = rules.table([text for text, _ in batch], [url for _, url in batch], chosen)
            rules.verdicts(rules.values(table_DC, chosen), chosen)

    megabytes = sum(len(text.encode()) for text, _ in documents) / 1e6
    ours(preset)  # compiles the kernels, loads the lists
    slow, fast = _seconds(theirs), min(_seconds(lambda: ours(bare)) for _ in range(3))
    zipping = _seconds(lambda: ours(only))
    out(f"   {megabytes:.1f} MB on one core, without compression: LLM-jp's {megabytes / slow:.2f} MB/s (documents up to their")
    out(f"   first failure), ours {megabytes / fast:.1f} MB/s (every value of every rule): {slow / fast:.1f} times as fast")
    out(f"   compression (zlib level 9, the same in both) with the pass over the bytes: {megabytes / zipping:.1f} MB/s")
    return slow / fast


def run(data: Path, out: Callable[[str], None]) -> None:
    """Compare and time; raises AssertionError where verdicts differ or too little was tried or it is too slow."""
    real = list(dict.fromkeys(real_documents(data)))
    oracle = Oracle.make()
    prose = [text for text, url in real if "aozora" in url and 400 < len(text) < 900][:4000]
    prose = [text for text in prose if text.count("。") > len(text) / 60 and not oracle.first_failure(text, "http://a.jp")][
        :1000
    ]
    documents = real + list(built_documents(prose, 3 * MIN_FIRED))
    out(f"   {len(real):,} real documents, {len(documents) - len(real):,} built around real prose")
    for name in PRESETS:
        preset = load_preset(name)
        first, fired, differences = compare(documents, preset, Oracle.make(strict=name.endswith("strict")))
        out(f"   {name}: {len(documents):,} verdicts, {len(differences)} differ; rule: first to fail, fails")
        out("   " + ", ".join(f"{rule.name} {first[rule.name]:,} {fired[rule.name]:,}" for rule in preset.rules))
        out(f"   kept {first['']:,}")
        for difference in differences[:5]:
            out(f"   ✗ {difference}")
        assert not differences, f"{name}: {len(differences)} documents judged otherwise"
        assert min(first[rule.name] for rule in preset.rules) >= MIN_FIRED, f"{name}: a rule was hardly tried"
    assert len(real) >= MIN_DOCUMENTS, f"{len(real)} real documents, expected {MIN_DOCUMENTS}"
    _compare_cleaning([text for text, url in documents if not oracle.first_failure(text, url)], out)
    ratio = _speed(real, oracle, out)
    assert ratio >= MIN_RATIO, f"{ratio:.1f} times as fast, expected {MIN_RATIO}"


def _compare_cleaning(texts: Sequence[str], out: Callable[[str], None]) -> None:
    """LLM-jp's extract_japanese_text, which comes last and drops what it leaves empty, against our cleaner."""
    import regex

    kana = regex.compile(r"[\p{Script=Hiragana}\p{Script=Katakana}ー]+")
    taken_away = (regex.compile(r"https?://[\w/:%#\$&\?\(\)~\.=\+\-]+"), regex.compile(r"[\u0000-\u007F]{100,}"))

    def theirs(text: str) -> str:
        lines = [line for line in text.split("\n") if kana.search(line)]
        return "".join(taken_away[1].sub("", taken_away[0].sub("", line)) for line in lines)

    ours = [clean(text, load_preset("llmjp-v1").cleaners) for text in texts]
    emptied = sum((mine.strip() == "") != (theirs(text).strip() == "") for mine, text in zip(ours, texts, strict=True))
    same = sum(mine.replace("\n", "") == theirs(text).replace("\n", "") for mine, text in zip(ours, texts, strict=True))
    out(f"   cleaning of the {len(texts):,} kept: {same:,} equal but for line ends, {emptied} empty in one only")
    assert not emptied, f"{emptied} documents are empty after one's cleaning and not after the other's"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    run(arguments.parse_args().data, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
