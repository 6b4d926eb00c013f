"""Numba kernels, compiled once a machine where the package's folder can be written, once a process where it cannot."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a kernel to machine code at its first call; it releases the interpreter lock while it runs."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither __pycache__ nor the user's cache folder can be written
        return numba.njit(nogil=True)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A part of a kernel, put into its callers: each array that a call hands on would cost two counts of its references."""
    return numba.njit(inline="always")(function)
