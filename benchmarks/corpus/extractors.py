"""`python -m benchmarks.corpus.extractors --data …`: main text of crawled pages by several extractors, host by host.

There is no hand-made truth. What a host's pages have in common tells template from text: a line of the whole body that
is on 30 % of a host's pages or more is template, and every sentence (up to 。) of the other lines is text to be found.

recall      of those sentences, how many are in the extracted text, spaces aside
template    of the extracted characters, how many are in template lines: menus, notices, addresses (less is better)
links       of the extracted characters, how many are in lines that are link texts of the page (less is better)
stability   Jaccard similarity of the texts of a page and its near copy: what an edit elsewhere moves (more is better)
MB/s        of UTF-8 HTML on one core

Last, speed alone: one process kept to one core takes the same pages of all hosts with every extractor in turn, page by page.
"""

import argparse
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus.labels import RawPage, is_translated, jaccard, raw_pages
from benchmarks.corpus.speed import one_core
from benchmarks.machine import describe
from corpus.extract.charset import decode
from corpus.extract.html_page import Unparsable, main_text, tidy
from corpus.extract.html_scan import join_lines

Out = Callable[[str], None]
# Pages of a host that are scored; templates are counted over all of them.
SCORED = 40
# One page in so many of all hosts is timed: 191 pages, 7.2 MB of HTML.
TIMED = 8
TEMPLATE_SHARE, TEMPLATE_PAGES = 0.3, 10
_HOST, _LINK = (
    re.compile(r"https://(?:(?:mirror|near|legacy)\.)*([^/]+)"),
    re.compile(r"<a\s[^>]*href[^>]*>(.*?)</a", re.I | re.S),
)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Score:
    """Sums over pages."""

    pages: int
    sentences: int
    found: int
    characters: int
    template: int
    linked: int
    stability: tuple[float, ...]
    bytes: int
    seconds: float

    def __str__(self) -> str:
        size = max(self.characters, 1)
        steady = sum(self.stability) / len(self.stability) if self.stability else float("nan")
        return (
            f"recall {self.recall:6.1%}  template {self.template / size:6.1%}  links {self.linked / size:6.1%}  "
            f"stability {steady:.3f}  {self.bytes / 1e6 / self.seconds:6.1f} MB/s"
        )

    @property
    def recall(self) -> float:
        """Share of the sentences found."""
        return self.found / max(self.sentences, 1)

    @property
    def quality(self) -> float:
        """Harmonic mean of recall and of the share of extracted characters that are neither template nor links."""
        clean = 1 - min((self.template + self.linked) / max(self.characters, 1), 1)
        return 2 * clean * self.recall / max(clean + self.recall, 1e-9)


def ours(html: str) -> str:
    """`corpus.extract.html_page`."""
    try:
        return main_text(html).text
    except Unparsable:
        return ""


def whole_body(html: str) -> str:
    """All text of the body, laid out as ours is."""
    from resiliparse.extract.html2text import extract_plain_text

    return tidy(extract_plain_text(join_lines(html), preserve_formatting=True, alt_texts=False))


def resiliparse_main(html: str) -> str:
    """resiliparse's own main content."""
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(html, preserve_formatting=True, main_content=True, alt_texts=False)


def trafilatura_with(**options: Any) -> Callable[[str], str]:
    """trafilatura, without comments."""

    def extractor(html: str) -> str:
        import trafilatura

        return trafilatura.extract(html, include_comments=False, **options) or ""

    return extractor


EXTRACTORS: Mapping[str, Callable[[str], str]] = {
    "ours": ours,
    "resiliparse body": whole_body,
    "resiliparse main": resiliparse_main,
    "trafilatura": trafilatura_with(),
    "trafilatura fast": trafilatura_with(fast=True),
    "trafilatura recall": trafilatura_with(favor_recall=True),
}


def run(data: Path, out: Out, scored: int = SCORED) -> None:
    """Print a table a host, and one of all."""
    hosts: dict[str, list[tuple[RawPage, str]]] = defaultdict(list)
    for page in raw_pages(data):
        found = decode(page.document.raw, page.document.declared)
        if found and page.label["lang"] == "ja" and (host := _HOST.match(page.label["url"])):
            hosts[host[1]].append((page, found.text))
    total: dict[str, list[Score]] = defaultdict(list)
    for host, pages in sorted(hosts.items()):
        template = template_lines([html for _, html in pages])
        chosen = [html for _, html in pages[:: -(-len(pages) // scored)]]
        chosen = [html for html in chosen if is_translated(whole_body(html))]
        out(f"{host}: {len(pages)} pages, {len(chosen)} scored, {len(template)} template lines")
        pairs = near_copies(pages)[: max(scored // 4, 1)]
        for name, extractor in EXTRACTORS.items():
            total[name].append(score(chosen, pairs, template, extractor))
            out(f"  {name:20} {total[name][-1]}")
        best = max(EXTRACTORS, key=lambda name: total[name][-1].quality)
        out(f"  best by recall and clean text: {best}")
    out("all hosts alike:")
    for name, scores in total.items():
        quality = sum(score.quality for score in scores) / len(scores)
        least = min(score.recall for score in scores)
        speed = sum(score.bytes for score in scores) / 1e6 / sum(score.seconds for score in scores)
        out(f"  {name:20} quality {quality:.3f}  least recall {least:.1%}  {speed:.1f} MB/s")
    speeds([html for pages in hosts.values() for _, html in pages][::TIMED], out)


def speeds(htmls: Sequence[str], out: Out) -> None:
    """Print MB of HTML a second of CPU time for every extractor, and ours against it."""
    core = one_core()
    seconds, size = dict.fromkeys(EXTRACTORS, 0.0), sum(len(html.encode()) for html in htmls) / 1e6
    for extractor in EXTRACTORS.values():
        extractor(htmls[0])  # loads and compiles
    for html in htmls:
        for name, extractor in EXTRACTORS.items():
            began = time.process_time()
            extractor(html)
            seconds[name] += time.process_time() - began
    out(f"speed on core {core}: {len(htmls)} pages, {size:.1f} MB of HTML")
    for name, took in seconds.items():
        out(f"  {name:20} {size / took:6.1f} MB/s  ours is {took / seconds['ours']:5.2f} times as fast")


def squeezed(text: str) -> str:
    """Without white space."""
    return "".join(text.split())


def template_lines(htmls: Sequence[str]) -> frozenset[str]:
    """Lines, white space aside, that are on many of a host's pages."""
    on = Counter(line for html in htmls for line in {squeezed(line) for line in whole_body(html).split("\n")} if line)
    return frozenset(line for line, pages in on.items() if pages >= max(TEMPLATE_SHARE * len(htmls), TEMPLATE_PAGES))


def near_copies(pages: Sequence[tuple[RawPage, str]]) -> list[tuple[str, str]]:
    """HTML of near copies and of their originals, where a url names one page."""
    by_url: dict[str, list[str]] = defaultdict(list)
    for page, html in pages:
        by_url[page.label["url"]].append(html)
    kinds = [(page.label["kind"].partition("near copy of ")[2], html) for page, html in pages]
    return [(by_url[original][0], html) for original, html in kinds if original and len(by_url[original]) == 1]


def score(
    htmls: Sequence[str], pairs: Sequence[tuple[str, str]], template: frozenset[str], extractor: Callable[[str], str]
) -> Score:
    """Run one extractor over the pages of one host."""
    extractor(htmls[0])
    began = time.process_time()
    texts = [extractor(html) for html in htmls]
    seconds = time.process_time() - began
    sums = Counter[str]()
    for html, text in zip(htmls, texts, strict=True):
        flat = squeezed(text)
        lines = [squeezed(line) for line in text.split("\n")]
        links = {squeezed(_TAG.sub("", link)) for link in _LINK.findall(html)}
        wanted = set(sentences(whole_body(html), template))
        sums["sentences"] += len(wanted)
        sums["found"] += sum(sentence in flat for sentence in wanted)
        sums["characters"] += len(flat)
        sums["template"] += sum(len(line) for line in lines if line in template)
        sums["linked"] += sum(len(line) for line in lines if line not in template and line.lstrip("•") in links)
    steady = tuple(jaccard(extractor(one), extractor(other)) for one, other in pairs)
    size = sum(len(html.encode()) for html in htmls)
    return Score(
        len(htmls),
        sums["sentences"],
        sums["found"],
        sums["characters"],
        sums["template"],
        sums["linked"],
        steady,
        size,
        seconds,
    )


def sentences(text: str, template: frozenset[str]) -> list[str]:
    """Sentences of the lines that are no template, white space aside."""
    lines = [squeezed(line) for line in text.split("\n")]
    return [sentence for line in lines if line not in template for sentence in re.findall("[^。]+。", line)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of development data")
    arguments.add_argument("--pages", type=int, default=SCORED, help="pages of a host that are scored")
    chosen = arguments.parse_args()
    print(describe("resiliparse", "trafilatura", "lxml"))
    run(chosen.data, print, chosen.pages)


if __name__ == "__main__":
    main()
