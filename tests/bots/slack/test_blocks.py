"""Search results as blocks that Slack takes, whatever is in a passage."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.slack.blocks import VALUE_CHARACTERS, More, results, truncate_query, without_button
from search.hits import Page
from tests.bots.helpers.fakes import hit
from tests.fakes.slack_blocks import validate


@given(st.text(max_size=3_000))
def test_any_query_fits_into_a_button_and_comes_back(query: str) -> None:
    fits = truncate_query(query)
    assert query.startswith(fits) and len(More(fits, "ngram", 123_456).value()) <= VALUE_CHARACTERS
    assert More.read(More(fits, "ngram", 5).value()) == More(fits, "ngram", 5)
    assert query == fits or len(fits) > 200


@pytest.mark.parametrize(
    "value", ["", "x", "[]", '{"q":1,"m":"vector","o":0}', '{"q":"a","m":"x","o":0}', '{"q":"a","m":"ngram","o":-1}']
)
def test_values_of_others_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a search"):
        More.read(value)


@given(st.text(max_size=1_500), st.text(max_size=400), st.text(max_size=50), st.data())
def test_slack_takes_any_passage(text: str, title: str, url: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    odd = replace(hit(1), text=text, title=title, url=url, spans=((begin, end),) if end > begin else ())
    validate(results("問い", [("vector", Page((odd,) * 20, 99), 0), ("ngram", Page((), 0), 0)]))


def test_without_button_keeps_the_other_one() -> None:
    page = Page((hit(1),), 12)
    blocks = results("雪", [("vector", page, 0), ("ngram", page, 0)])
    left = without_button(blocks, More("雪", "vector", 1).value())
    assert [e["action_id"] for e in left[-1]["elements"]] == ["more_results:ngram"]
    assert without_button(left, More("雪", "ngram", 1).value()) == blocks[:-1]
