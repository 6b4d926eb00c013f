"""The fold against Unicode's own rules applied to whole texts, and its map back against every cut of a text."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptArtifact
from search.normalized.fold import EVENTS, FILES, MARK_EVERY, SIZES, OffsetMap, fold, fold_bytes, fold_query
from search.normalized.kanji_variants import read_kanji_forms
from search.normalized.tables import build_replacements

# Letters, marks of several combining classes, characters that join, vanish, grow or change their size.
ALPHABET = (
    "かがはぱこゝゞあいうんっ、。カガハヒヽヾヴヷヰヱヲヵヶヿーｶﾊｱｳﾞﾟﾀ゛゜\u3099\u309a国國学學葛辻弁辯髙﨑𠮷神々〻"
    "aAéßſǰİΣςᾳK①㎏℃…㌔㍻ﷺ½ﬃ \u3000\n～〜―—−－𛀁𛂦🙂👨\u200d\ufe0f\u00ad\ufeff\U000e0100\U000e0001"
    "\u0301\u0307\u0323\u0327\u0345\u05b0\u0e38\u0f71\u1160\u1100\u1161\u11a8가각ᄀ한\u09c7\u09be\u0b47\u0b56\u0dd9\u0dcf\u0dca"
    "\U00011099\U000110ba\U0001d157\U0001d165\U00030000\U0010ffff"
)
TEXTS = st.text(st.sampled_from(ALPHABET), max_size=25) | st.text(max_size=25)


REPLACED = build_replacements()


def truth(text: str) -> str:
    """The fold, a rule at a time over the whole text, by unicodedata."""
    text = text.translate({ord("゛"): "\u3099", ord("゜"): "\u309a"})
    before = None
    while before != text:
        before = text
        text = "".join(REPLACED[c] if c in REPLACED else c.casefold() for c in unicodedata.normalize("NFKD", text))
        text = unicodedata.normalize("NFKD", text)
    text = re.sub("([ぁ-ゖ])(ゝ+)", lambda found: found[1] * len(found[0]), text)
    return unicodedata.normalize("NFC", text)


def groups(text: str) -> list[tuple[str, int, int]]:
    """Folded characters that come from the same characters of the text, and which."""
    made, origins = fold(text)
    found: list[tuple[str, int, int]] = []
    for character, (begin, end) in zip(made, origins.tolist(), strict=True):
        if found and found[-1][1:] == (begin, end):
            found[-1] = (found[-1][0] + character, begin, end)
        else:
            found.append((character, begin, end))
    return found


@settings(deadline=None)
@given(TEXTS)
@example("こゝゝろ、づゝ、たゞ、ゝ゚は゛ゝ")
@example("e\u0301\u0323\u0327a\u0323\u0301\ufe0f\u0301")
@example("\ufe0f\u3099か\ufe0f\u3099")
@example("a\u0305\u0301")  # a mark after another of its class does not reach the letter
def test_the_fold_is_that_of_the_whole_text_at_once(text: str) -> None:
    assert fold_query(text) == truth(text)


@settings(deadline=None)
@given(TEXTS)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold_query(fold_query(text)) == fold_query(text)


@settings(deadline=None)
@given(TEXTS)
def test_canonically_equal_texts_fold_alike(text: str) -> None:
    assert fold_query(unicodedata.normalize("NFD", text)) == fold_query(unicodedata.normalize("NFC", text)) == fold_query(text)


def test_every_character_folds_as_unicode_says() -> None:
    every = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    data = b"\xff".join(character.encode() for character in every)
    made = fold_bytes(np.frombuffer(data, np.uint8))[0].tobytes().split(b"\xff")
    unlike = []
    for character, found in zip(every, made, strict=True):
        if not any(part in REPLACED for part in character + unicodedata.normalize("NFKD", character)):
            wanted, before = character, ""
            while wanted != before:
                before, wanted = wanted, unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", wanted).casefold())
            if found.decode() != wanted:
                unlike.append((character, found.decode(), wanted))
    assert not unlike


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("カタカナ", "かたかな"),
        ("ｶﾞｷﾞﾊﾟﾋﾟｳﾞｰ", "ガギパピヴー"),
        ("か゛", "が"),
        ("Ｐｙｔｈｏｎ　３．１１", "python 3.11"),
        ("國語學", "国語学"),
        ("髙橋と﨑山と𠮷野家", "高橋と崎山と吉野家"),
        ("葛\U000e0100城", "葛城"),
        ("神\ufe00", "神"),
        ("こゝろ", "こころ"),
        ("いすゞ", "いすず"),
        ("ゐる、ヱビス", "いる、えびす"),
        ("𛂦𛀙", "はか"),
        ("茅ヶ崎の一ヵ月", "茅ケ崎の一か月"),
        ("１０～２０㎏", "10〜20kg"),
        ("Straße", "STRASSE"),
        ("각", "\u1100\u1161\u11a8"),
    ],
)
def test_what_readers_take_for_equal_is(left: str, right: str) -> None:
    assert fold_query(left) == fold_query(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [("か", "が"), ("は", "ぱ"), ("つ", "っ"), ("を", "お"), ("づゝ", "づづ"), ("a", "á"), ("土", "士"), ("庄", "荘")],
)
def test_what_they_tell_apart_stays_apart(left: str, right: str) -> None:
    assert fold_query(left) != fold_query(right)


def test_kanji_forms_are_one_letter_each() -> None:
    forms = read_kanji_forms()
    assert len(forms) > 500
    for form, letter in forms.items():
        assert unicodedata.normalize("NFKD", form + letter) == form + letter
        assert (fold_query(form), fold_query(letter)) == (letter, letter)


@settings(deadline=None)
@given(TEXTS)
@example("こゝゝろヽ゚e\u0323\ufe0f\u0301…㌔\u1100\u1161\u11a8")
def test_every_group_is_what_its_own_characters_fold_to(text: str) -> None:
    found = groups(text)
    assert "".join(part for part, _, _ in found) == fold_query(text)
    place = found[0][1] if found else len(text)
    assert not fold_query(text[:place])
    for part, begin, end in found:
        assert begin == place < end
        assert fold_query(text[begin:end]) == part
        place = end
        for cut in range(begin + 1, end):  # no smaller group would do
            left, right = fold_query(text[begin:cut]), fold_query(text[cut:end])
            assert not left or not right or unicodedata.combining(right[0]) or left + right != part
    assert place == len(text)


@settings(deadline=None)
@given(TEXTS, st.data())
def test_any_run_of_groups_is_found_as_it_stands(text: str, data: st.DataObject) -> None:
    found = groups(text)
    if not found:
        return
    first = data.draw(st.integers(0, len(found) - 1))
    last = data.draw(st.integers(first, len(found) - 1))
    assert fold_query(text[found[first][1] : found[last][2]]) == "".join(part for part, _, _ in found[first : last + 1])


@settings(deadline=None)
@given(TEXTS, st.data())
def test_what_a_query_finds_contains_it(text: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    inside = text[begin : data.draw(st.integers(begin, len(text)))]
    query = fold_query(data.draw(st.sampled_from([inside, fold_query(inside), inside.swapcase()]) | TEXTS))
    made, origins = fold(text)
    for place in range(len(made)):
        if query and made.startswith(query, place):
            span = text[origins[place, 0] : origins[place + len(query) - 1, 1]]
            assert query in fold_query(span)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_nothing_joins_over_the_end_of_a_document(texts: list[str]) -> None:
    data = b"".join(text.encode() + b"\xff" for text in texts)
    made, map_back = fold_bytes(np.frombuffer(data, np.uint8))
    assert made.tobytes() == b"".join(fold_query(text).encode() + b"\xff" for text in texts)
    assert (map_back.folded_bytes, map_back.text_bytes) == (len(made), len(data))
    before_text, before_made = 0, 0
    for text in texts:
        starts = np.cumsum([0, *(len(character.encode()) for character in text)])
        begins = before_made + np.cumsum([0, *(len(character.encode()) for character in fold_query(text))])
        found = map_back.origins(begins[:-1], begins[1:])
        assert found.tolist() == (before_text + starts[fold(text)[1]]).reshape(-1, 2).tolist()
        before_text, before_made = before_text + len(text.encode()) + 1, int(begins[-1]) + 1


def _hard() -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """A text with groups of 400 sizes, gaps of all lengths and long stretches; and its groups, folded and in the text."""
    text, made = "", []
    for number in range(1, 401):
        text += "あ" * (number % 130 + 300 * (number % 37 == 0)) + "a" + "\ufe0f" * number + "…"
    folded_at, at = 0, 0
    for part, begin, end in groups(text):
        sizes = len(part.encode()), len(text[begin:end].encode())
        made.append((folded_at, folded_at + sizes[0], at, at + sizes[1]))
        folded_at, at = folded_at + sizes[0], at + sizes[1]
    return np.frombuffer(text.encode(), np.uint8), made


def test_a_saved_map_gives_every_range(tmp_path: Path) -> None:
    text, made = _hard()
    result, map_back = fold_bytes(text)
    assert len(map_back.events) > 2 * MARK_EVERY
    assert len(map_back.rare) > 50
    map_back.save(tmp_path)
    opened = OffsetMap.open(tmp_path, len(result), len(text))
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted(FILES)
    rng = np.random.default_rng(0)
    first = np.concatenate([np.arange(len(made)), rng.integers(0, len(made), 5000)])
    last = np.concatenate([np.arange(len(made)), np.minimum(first[len(made) :] + rng.integers(0, 300, 5000), len(made) - 1)])
    table = np.array(made)
    found = opened.origins(table[first, 0], table[last, 1])
    assert np.array_equal(found, np.column_stack([table[first, 2], table[last, 3]]))
    assert np.array_equal(found, map_back.origins(table[first, 0], table[last, 1]))
    assert np.array_equal(opened.offsets(np.append(table[:, 2], len(text))), np.append(table[:, 0], len(result)))


def test_empty_and_unchanged_texts_have_a_map(tmp_path: Path) -> None:
    for number, text in enumerate(("", "あ", "あ" * 1000)):
        data = np.frombuffer(text.encode(), np.uint8)
        result, map_back = fold_bytes(data)
        assert result.tobytes() == text.encode()
        folder = tmp_path / str(number)
        folder.mkdir()
        map_back.save(folder)
        opened = OffsetMap.open(folder, len(data), len(data))
        whole = np.array([0] * bool(text)), np.array([len(data)] * bool(text))
        assert opened.origins(*whole).tolist() == [[0, len(data)]] * bool(text)


def test_a_map_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    data = np.frombuffer("國學…か゛".encode(), np.uint8)
    result, map_back = fold_bytes(data)
    map_back.save(tmp_path)
    with pytest.raises(CorruptArtifact, match="do not fit"):
        OffsetMap.open(tmp_path, len(result) + 1, len(data))
    np.save(tmp_path / SIZES, np.zeros((256, 2), np.int32))
    with pytest.raises(CorruptArtifact, match="do not fit"):
        OffsetMap.open(tmp_path, len(result), len(data))
    np.save(tmp_path / SIZES, map_back.sizes.astype(np.int64))
    with pytest.raises(CorruptArtifact, match="not an offset map"):
        OffsetMap.open(tmp_path, len(result), len(data))
    (tmp_path / EVENTS).unlink()
    with pytest.raises(CorruptArtifact, match=r"origins\.events\.npy"):
        OffsetMap.open(tmp_path, len(result), len(data))


def test_a_run_of_marks_without_end_is_folded_too() -> None:
    text = "か" + "\u0301\u0323\u3099\ufe0f" * 20_000 + "ゝ" * 20_000
    assert fold_query(text) == truth(text)
    assert [(begin, end) for _, begin, end in groups("か" + "ゝ" * 1000 + "ん")] == [(0, 1001), (1001, 1002)]


@pytest.mark.sample
def test_works_of_aozora_fold_as_the_whole_text_does(sample_data: Path) -> None:
    import pyarrow.parquet as pq

    for text in pq.read_table(sample_data / "aozora.parquet", columns=["text"]).column("text").to_pylist()[::200]:
        assert fold_query(text) == truth(text)
