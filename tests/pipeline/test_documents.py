"""Which documents are held out."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.documents import HeldOut, held_out_key, is_below

shares = st.just(0.0) | st.floats(1e-9, 1 - 1e-9)


@given(ids=st.sets(st.text("abc", min_size=1), min_size=2, max_size=20), share=shares)
def test_held_out_are_the_lowest_keys_at_least_one_never_all(ids: set[str], share: float) -> None:
    held_out = HeldOut.of(sorted(ids), share)
    gone = sorted((doc_id for doc_id in ids if doc_id in held_out), key=held_out_key)
    assert gone == sorted(ids, key=held_out_key)[: len(gone)]
    assert 1 <= len(gone) < len(ids) if share else not gone
    if share and len(gone) not in (1, len(ids) - 1):
        assert gone == sorted((doc_id for doc_id in ids if is_below(doc_id, share)), key=held_out_key)
    assert HeldOut.of([held_out.highest, held_out.lowest], share) == held_out


def test_a_document_alone_is_not_held_out() -> None:
    assert "a" not in HeldOut.of(["a"], 0.999)
