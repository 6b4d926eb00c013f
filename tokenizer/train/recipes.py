"""Recipes: from a sample to the bytes of tokenizer.model.

words              pieces inside words, then runs of whole words, without the pieces that straddle; the default
bpe, unigram       raw text
*-delimited        text cut at word boundaries: no piece reaches over one
unigram-filtered   raw unigram, straddling pieces taken out and their slots filled from a larger vocabulary
merged             delimited unigrams of Japanese, English and code, united and scored again: LLM-jp's v2.1

BPE is what llama.cpp, which merges greedily, and the `tokenizers` library read exactly as SentencePiece does; for
unigram they break ties and read runs of spaces in other ways.
"""

from collections.abc import Sequence

from tokenizer.analyzer import DELIMITER, delimit, load_analyzer
from tokenizer.model_file import NUM_FIXED_PIECES, Piece, learned_pieces, order_parts_first, replace_learned, unreachable_pieces
from tokenizer.settings import DELIMITED_RECIPES, TokenizerSettings
from tokenizer.train.sample import Sample
from tokenizer.train.straddle import find_straddlers
from tokenizer.train.superwords import find_superwords
from tokenizer.train.trainer import keep_best_pieces, train, train_delimited, vocab_too_large, vocab_too_small

# Runs that are looked for, per free slot: some are too long, some repeat a piece, some straddle.
SUPERWORD_SURPLUS = 1.5
# Vocabularies that straddlers are taken out of are trained larger by this.
VOCAB_SURPLUS = 1.3


def train_recipe(sample: Sample, settings: TokenizerSettings) -> bytes:
    """The vocabulary of `settings.recipe`; the same sample and settings give the same bytes.

    Args:
        sample: delimited already, as `draw_shards` leaves it, or as the corpus has it: then it is delimited here.
    Raises: ConfigError if the text cannot fill vocab_size, or its characters alone fill it; MissingInput without analyzer.
    """
    assert settings.recipe in DELIMITED_RECIPES or not sample.is_delimited, "this recipe reads text as it is"
    match settings.recipe:
        case "bpe" | "unigram":
            return train(sample, settings, model_type=settings.recipe)
        case "merged":
            from tokenizer.train.llmjp_merge import train_merged

            return train_merged(sample, settings)
    if sample.is_delimited:
        delimited = list(sample)
    else:
        analyzer = load_analyzer(settings.analyzer)
        delimited = [delimit(sentence, analyzer) for sentence in sample]
    match settings.recipe:
        case "bpe-delimited" | "unigram-delimited":
            return train_delimited(delimited, settings, model_type=settings.recipe.removesuffix("-delimited"))
        case "unigram-filtered":
            return _filtered(delimited, settings)
        case _:
            return _words(delimited, settings)


def _words(delimited: Sequence[str], settings: TokenizerSettings) -> bytes:
    # The first merges of a large vocabulary are a small one's: one training gives every size that may be needed.
    # Words are of one script where the analyzer cuts so, and identifiers have letters and underscores.
    size = round(settings.vocab_size * VOCAB_SURPLUS)
    base = train_delimited(delimited, settings, vocab_size=size, hard_vocab_limit=False, split_by_unicode_script=False)
    learned = [piece.text for piece in learned_pieces(base)]
    merges, characters = [text for text in learned if len(text) > 1], [text for text in learned if len(text) == 1]
    slots = settings.vocab_size - NUM_FIXED_PIECES - len(characters)
    if slots < 0:
        raise vocab_too_small(settings, NUM_FIXED_PIECES + len(characters))
    inside = round(slots * settings.word_share) if settings.runs != "none" else slots
    dropped: set[str] = set()
    for again in range(settings.straddle_rounds + 1):
        kept = [text for text in merges[:inside] if text not in dropped]
        small = _numbered(base, [*kept, *characters])
        runs = [
            run
            for run in find_superwords(delimited, small, settings, round((slots - len(kept)) * SUPERWORD_SURPLUS))
            if run not in dropped
        ]
        reserve = [text for text in merges[inside:] if text not in dropped]
        model = _filled(base=base, kept=kept, runs=runs, reserve=reserve, characters=characters, settings=settings)
        if again < settings.straddle_rounds and (found := find_straddlers(model, delimited, settings.straddle_limit)):
            dropped |= found
        else:
            return model
    raise AssertionError("the last round returns")


def _filled(
    base: bytes,
    kept: Sequence[str],
    runs: Sequence[str],
    reserve: Sequence[str],
    characters: Sequence[str],
    settings: TokenizerSettings,
) -> bytes:
    """A model of exactly vocab_size pieces that can all be reached.

    Order: pieces inside words, more of them where there are too few runs, runs, each after its parts; characters.
    """
    free = settings.vocab_size - NUM_FIXED_PIECES - len(characters)
    inside = list(kept)
    have = set(inside)
    after = [run for run in runs if run not in have]
    spare = list(reserve)
    while True:
        taken = after[: free - len(inside)]
        more = [text for text in spare if text not in set(taken)][: free - len(inside) - len(taken)]
        model = _numbered(base, [*order_parts_first([*inside, *more, *taken]), *characters])
        dead = set(unreachable_pieces(model))
        if not dead:
            break
        inside, after, spare = ([text for text in texts if text not in dead] for texts in (inside, after, spare))
    if (found := len(inside) + len(more) + len(taken)) < free:
        raise vocab_too_large(settings, found + settings.vocab_size - free)
    return model


def _numbered(base: bytes, texts: Sequence[str]) -> bytes:
    """A BPE model whose merges have the order of `texts`."""
    return replace_learned(base, [Piece(text, -float(place)) for place, text in enumerate(texts)])


def _filtered(delimited: Sequence[str], settings: TokenizerSettings) -> bytes:
    raw = [line.replace(DELIMITER, "") for line in delimited]
    size = settings.vocab_size
    while True:
        size = round(size * VOCAB_SURPLUS)
        base = train(raw, settings, model_type="unigram", vocab_size=size, hard_vocab_limit=False)
        gone = find_straddlers(base, delimited, settings.straddle_limit)
        left = [piece for piece in learned_pieces(base) if piece.text not in gone]
        if len(left) >= settings.vocab_size - NUM_FIXED_PIECES:
            return replace_learned(base, keep_best_pieces(left, settings))
        if len(learned_pieces(base)) + NUM_FIXED_PIECES < size:  # the text has no more
            raise vocab_too_large(settings, len(left) + NUM_FIXED_PIECES)
