"""Clusters of similar documents: the connected components of their pairs, and which document of each is kept."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.compiled import compiled

# Pairs united at a time: 16 bytes each and as many for their places among the nodes.
PAIRS_IN_MEMORY = 2_000_000
Edges = np.ndarray  # (2, E) uint64 references: a duplicate or one of two similar documents, and the other


def find_clusters(similar: Edges, order: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Edges:
    """Find the duplicates and what is kept in their favour: of each connected component the member of least rank.

    Args:
        order: (groups, references) -> the permutation by group and, inside a group, by rank.
    """
    nodes = np.unique(similar)
    if not len(nodes):
        return np.empty((2, 0), np.uint64)
    parents = np.arange(len(nodes))
    for begin in range(0, similar.shape[1], PAIRS_IN_MEMORY):
        part = slice(begin, begin + PAIRS_IN_MEMORY)
        _unite(parents, np.searchsorted(nodes, similar[0, part]), np.searchsorted(nodes, similar[1, part]))
    _flatten(parents)
    ranked = order(parents, nodes)
    first = np.r_[True, parents[ranked][1:] != parents[ranked][:-1]]
    best = np.empty_like(nodes)  # by root
    best[parents[ranked[first]]] = nodes[ranked[first]]
    representatives = best[parents]
    is_dropped = nodes != representatives
    return np.stack([nodes[is_dropped], representatives[is_dropped]])


@compiled
def _unite(parents: Any, ones: Any, others: Any) -> None:
    """Union by least index, with path halving (Tarjan and van Leeuwen 1984)."""
    for i in range(len(ones)):
        one, other = ones[i], others[i]
        while parents[one] != one:
            parents[one] = parents[parents[one]]
            one = parents[one]
        while parents[other] != other:
            parents[other] = parents[parents[other]]
            other = parents[other]
        if one < other:
            parents[other] = one
        else:
            parents[one] = other


@compiled
def _flatten(parents: Any) -> None:
    """Every node's parent becomes its root; a parent never is after its child."""
    for node in range(len(parents)):
        parents[node] = parents[parents[node]]
