"""Manual pages: what each macro must become, by man(7), mdoc(7) and groff(7)."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.extract.roff.engine import join
from corpus.extract.roff.escapes import unescape
from corpus.extract.roff.page import ManualPage, Redirect, roff_text


def text_of(source: str) -> str:
    page = roff_text(source)
    assert isinstance(page, ManualPage)
    return page.text


MAN = r"""'\" t
.\" 著作権表示は注釈であり、本文ではない
.TH OPEN 2 2020\-11\-01 Linux "Linux Programmer's Manual"
.SH 名前
open, creat \- ファイルのオープンと
作成を行う
.SH 書式
.nf
\fBint open(const char *\fP\fIpathname\fP\fB, int \fP\fIflags\fP\fB);\fP
\fB    /* 字下げ */\fP
.fi
.SH "説明 1"
.BR open ()
はファイルを開く。 詳しくは
.BR read (2),
.I write
を見よ。
.PP
次の段落。\(em ダッシュ \(lq引用\(rq \e バック\-スラッシュ。
.TP
.B O_APPEND
追加で開く。
改行。
.TP 8
\fBO_CREAT\fP
作る。
.IP \(bu 2
一つ目
.IP \(bu
二つ目
.SS 小節
.EX
$ ls
  a\-b
.EE
.UR https://example.jp/
.UE
"""

MAN_TEXT = """名前

open, creat - ファイルのオープンと作成を行う

書式

int open(const char *pathname, int flags);
    /* 字下げ */

説明 1

open() はファイルを開く。詳しくは read(2), write を見よ。

次の段落。— ダッシュ “引用” \\ バック-スラッシュ。

O_APPEND
追加で開く。改行。

O_CREAT
作る。

• 一つ目

• 二つ目

小節

$ ls
  a-b

<https://example.jp/>"""


def test_man_macros() -> None:
    """Headings and paragraphs stand alone, fonts go, Japanese lines join without a space, a tag is above its text."""
    page = roff_text(MAN)
    assert isinstance(page, ManualPage)
    assert page.text == MAN_TEXT
    assert page.title == "open(2)"


MDOC = r""".Dd August 31, 1999
.Dt CVSUP 1
.Os FreeBSD
.Sh 名称
.Nm cvsup
.Nd 配布パッケージ
.Sh 書式
.Nm
.Op Fl 1a
.Op Fl b Ar base
.Op Fl P Ar m | a
.Ar supfile
.Oo
.Ar destDir
.Oc
.Sh 解説
.Nm
は
.Xr cvsupd 8 ,
.Fn main "int argc" "char **argv" ,
.Pa /etc/hosts
と
.Dq 引用
を使う
.Pq 丸括弧 .
.Bl -tag -width Fl
.It Fl v
詳しく。
.It Fl q , Fl -quiet
静かに。
.El
.Bl -enum
.It
はじめ
.It
おわり
.El
.Bd -literal
a   b
  c
.Ed
.Nm ssh Ns No \&'s
"""

MDOC_TEXT = """名称

cvsup - 配布パッケージ

書式

cvsup [-1a] [-b base] [-P m | a] supfile [destDir]

解説

cvsup は cvsupd(8), main(int argc, char **argv), /etc/hosts と “引用” を使う (丸括弧).

-v
詳しく。

-q, --quiet
静かに。

1.
はじめ

2.
おわり

a   b
  c

ssh's"""


def test_mdoc_macros() -> None:
    page = roff_text(MDOC)
    assert isinstance(page, ManualPage)
    assert page.text == MDOC_TEXT
    assert page.title == "cvsup(1)"


def test_tables_keep_their_cells() -> None:
    """tbl(1): an option line, formats up to a full stop, rows; T{ … T} is a cell over several lines; = and _ are rules."""
    source = ".TS\ntab(:) allbox;\nlb l\nl l.\n名前:意味\n=\nKILL:T{\n止める。\nすぐに。\nT}\n\\fBHUP\\fP:\\-\n_\n.TE\n"
    assert text_of(source) == "名前 | 意味\nKILL | 止める。すぐに。\nHUP | -"


def test_conditionals_strings_and_own_macros() -> None:
    """A terminal is `n`, not `t`; .ds strings and .de macros of the page itself are carried out."""
    source = r"""
.ie n 端末です。
.el 紙です。
.if t \{\
紙だけ。
.\}
.if !t \{\
端末だけ。
.B 太字
.\}
.ds Me 源
.ds corner 角
.de HELLO
こんにちは\\$1さん。
..
.HELLO "山田 太郎"
名は\*(Meと\*[corner]。
.ig
見えない。
..
"""
    assert text_of(source) == "端末です。端末だけ。太字こんにちは山田 太郎さん。名は源と角。"


@pytest.mark.parametrize(("source", "plain"), [
    (r"\fB太\fP\f(CW字\fR\f[I]体", "太字体"),
    (r"a\-b\ c\~d\&.\|e\^f", "a-b c d.ef"),
    (r"\(em\(en\(bu\(co\[rs]\(aq\(dq\[u3042]", "—–•©\\'\"あ"),
    (r"\s-1小\s0\s+2大\s[12]x\n(.g\n[z]", "小大x"),
    (r"\h'2n'a\v'1'b\w'xx'c\o'de'", "abcd"),
    (r"\N'65'\*(lq\*R\*[none]", "A“®"),
    (r"見える\" 見えない", "見える"),
    (r"\e\\n", r"\\n"),
])  # fmt: skip
def test_escapes(source: str, plain: str) -> None:
    assert unescape(source) == plain


def test_redirects() -> None:
    assert roff_text(".so man2/open.2\n") == Redirect("man2/open.2")
    assert roff_text('.\\" 注釈\n.so man3/a.3\n') == Redirect("man3/a.3")


@pytest.mark.parametrize(
    "source",
    [".de X\n.X\n..\n.X\n", ".ds a \\*a\n\\*a\n", ".ie \\{\\\n", ".TS\n", ".de\n", ".El\n.It x\n.Oc\n.UE\n", "\\", "\\("],
)
def test_broken_pages_end(source: str) -> None:
    """Macros that call themselves, blocks and tables without an end, closings without a beginning."""
    assert isinstance(roff_text(source), ManualPage)


@given(st.text(st.sampled_from(".\\'\"{}()[]*$ \nTHSPBIRfndsieol漢字n1a,")))
@settings(max_examples=300, deadline=None)
def test_no_source_makes_it_fail(source: str) -> None:
    """Whatever is in the file, the converter returns."""
    assert isinstance(roff_text(source), ManualPage | Redirect)


@given(st.lists(st.text(st.sampled_from("あいう漢字カナ、。abc"), min_size=1), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_plain_lines_lose_nothing(lines: list[str]) -> None:
    """Lines without markup come out as one paragraph that holds every character in order."""
    got = text_of("\n".join(lines))
    assert got.replace(" ", "") == "".join(lines)
    assert join("漢", "字") == "漢字"
    assert join("a", "字") == "a 字"


@pytest.mark.sample
def test_real_pages_keep_their_japanese() -> None:
    """On the fetched manuals, where there are any: 95 % of pages keep 95 % of the hiragana outside comments."""
    pages = sorted(Path("artifacts/fetch/demo/data/debian").glob("manpages-ja*/usr/share/man/**/*.gz"))[::25]
    if not pages:
        pytest.skip("no fetched manual pages; run `make fetch`")
    kept = 0
    for path in pages:
        source = gzip.decompress(path.read_bytes()).decode()
        body = "\n".join(line for line in source.split("\n") if not line.startswith(('.\\"', "'\\\"", "'''")))
        page = roff_text(source)
        kept += isinstance(page, Redirect) or hiragana(page.text) >= 0.95 * hiragana(body)
    assert kept >= 0.95 * len(pages)


def hiragana(text: str) -> int:
    return sum("ぁ" <= character <= "ん" for character in text)
