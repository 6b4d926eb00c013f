"""What becomes of an iteration whose loss or gradient is not finite, or whose loss leaps; arithmetic on positions only.

A skipped iteration changes no weight and no moment, and its samples count as read. Too many in a row, and the run goes
back to its last checkpoint's weights and on with the next data, as often as the settings allow; then it stops.
No checkpoint is made while iterations are being skipped, so that the last one always is from before the trouble.
Every decision follows from numbers that all ranks share and from the position, which the checkpoint keeps: a run that
was killed decides again as before.
"""

import dataclasses
import math
from statistics import median
from typing import Literal

from pretrain.position import Position, add_range
from pretrain.settings import Guard

Verdict = Literal["kept", "not finite", "spike"]


def judge(guard: Guard, position: Position, loss: float, norm: float) -> Verdict:
    """What to do with the iteration that follows `position`.

    Args:
        loss, norm: mean over all its tokens, and norm of its gradient over all ranks.
    """
    if not (math.isfinite(loss) and math.isfinite(norm)):
        return "not finite"
    full = len(position.recent) == guard.window  # a median of few losses, at the beginning, says little
    return "spike" if guard.spike and full and loss > guard.spike * median(position.recent) else "kept"


def advance(guard: Guard, position: Position, verdict: Verdict, *, samples: int, loss: float) -> Position:
    """The position after an iteration of so many samples."""
    iteration = position.iteration + 1
    moved = dataclasses.replace(position, iteration=iteration, samples=position.samples + samples, skipped_in_row=0)
    if verdict == "kept":
        return dataclasses.replace(moved, recent=(*position.recent, loss)[-guard.window :]) if guard.spike else moved
    return dataclasses.replace(
        moved,
        skipped=position.skipped + 1,
        skipped_in_row=position.skipped_in_row + 1,
        discarded=add_range(position.discarded, iteration, iteration),
    )


def rewind(position: Position, saved: Position) -> Position:
    """The position with the weights of `saved`: the data goes on, the iterations since then left nothing in the weights."""
    return dataclasses.replace(
        position,
        skipped_in_row=0,
        rewinds=position.rewinds + 1,
        discarded=add_range(position.discarded, saved.iteration + 1, position.iteration),
        recent=saved.recent,
    )


def stop_message(guard: Guard, position: Position, verdict: Verdict) -> str:
    """The trouble and the way out, in one line."""
    what = "loss or gradient not finite"
    if verdict == "spike":
        what = f"loss above {guard.spike:g} times the median of {guard.window}"
    so_far = f", after {position.rewinds} rewind(s)" if position.rewinds else ""
    return (
        f"{what} in {position.skipped_in_row} iterations in a row, up to iteration {position.iteration}{so_far}; lower "
        f"optimizer.lr or lengthen optimizer.warmup under a new run name"
    )
