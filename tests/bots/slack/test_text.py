"""Text between Slack and the model."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.slack.text import DEFUSED_AT, DEFUSED_BRACKET, Defuser, cut, message_text

LIVELY = st.text(st.sampled_from("<>@!#|ac hereCHANNELvyon.漢。"), max_size=40) | st.sampled_from(
    [
        "<!channel>",
        "<@U2>",
        "<!subteam^S1|x>",
        "@here",
        "@Everyone!",
        "x@here.jp",
        "<#C1>",
        "a<b",
        "@channel_x",
        "@",
        "皆さん@hereへ",
    ]
)


def streamed(text: str, cuts: list[int]) -> str:
    defuser = Defuser()
    places = sorted({0, len(text), *(c % (len(text) + 1) for c in cuts)})
    out = "".join(defuser.feed(text[a:b]) for a, b in pairwise(places))
    return out + defuser.end()


@given(st.lists(LIVELY, max_size=4).map("".join), st.lists(st.integers(0, 200), max_size=12))
def test_defused_the_same_however_it_is_split(text: str, cuts: list[int]) -> None:
    out = streamed(text, cuts)
    assert out == streamed(text, [])
    assert not re.search(r"<[@!#]", out)
    assert not re.search(r"(?<![\w.])@(channel|here|everyone)(?!\w)", out, re.IGNORECASE | re.ASCII)
    # nothing else is changed
    assert out.replace(DEFUSED_BRACKET, "<").replace(DEFUSED_AT, "@") == text


@given(st.text(st.sampled_from("漢あa。、\n 😀"), min_size=1, max_size=200), st.integers(4, 60))
def test_cut_keeps_everything_within_the_bytes(text: str, most: int) -> None:
    parts, rest = [], text
    while rest:
        head, rest = cut(rest, most)
        assert head and len(head.encode()) <= most
        parts.append(head)
    assert "".join(parts) == text


def test_cut_prefers_the_end_of_a_sentence() -> None:
    assert cut("雪国の朝。静かな夜が来た。そして", 40) == ("雪国の朝。静かな夜が来た。", "そして")
    assert cut("a" * 50, 20) == ("a" * 20, "a" * 30)


@pytest.mark.parametrize(
    ("event", "seen"),
    [
        ("<@U0BOT> こんにちは", "こんにちは"),
        ("<@U0BOT> &lt;b&gt; &amp;amp;", "<b> &amp;"),
        ("<@U2> と <@U3|taro> に", "@U2 と @taro に"),
        ("<#C1|general> と <#C2>", "#general と #C2"),
        ("<https://example.org/a?b=1&amp;c=2|ここ> <https://example.org>", "ここ https://example.org"),
        ("<!here> <!subteam^S1|@team>", "@here @team"),
        ("1 &lt; 2 &lt;!channel&gt;", "1 < 2 <!channel>"),
    ],
)
def test_typed(event: str, seen: str) -> None:
    assert message_text(event, "U0BOT") == seen
