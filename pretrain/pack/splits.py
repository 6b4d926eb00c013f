"""Which documents of a source are trained on, which are held out, and which are left aside: a range of keys each."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.documents import HeldOut, is_below

SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Splits:
    """The split of one source.

    The training share is counted from where the held-out documents end; the highest key is always trained on.
    """

    held_out: HeldOut
    train_below: float  # keys below this share of all are trained on, unless they are held out

    @staticmethod
    def from_doc_ids(doc_ids: Iterable[str], valid_share: float, train_share: float) -> "Splits":
        """The split of a source, from all of its documents or from those of its lowest and highest keys."""
        return Splits(HeldOut.of(doc_ids, valid_share), valid_share + train_share * (1 - valid_share))

    def split_of(self, doc_id: str) -> str:
        """ "train", "valid", or "" for a document that is left aside."""
        if doc_id in self.held_out:
            return "valid"
        return "train" if doc_id == self.held_out.highest or is_below(doc_id, self.train_below) else ""
