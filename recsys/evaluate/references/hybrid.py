"""A blend of systems, with weights that validation has taught.

An item's score is the sum over the systems of weight * log((length + 1) / rank), 0 where a system
does not have it among its first `length`: ranks need no common scale. The weights make the items
that came next in validation most likely, with probabilities in proportion to exp(score) (a
conditional logit: McFadden, 1974).

Shapes: N cases, V vocabulary, M length of the blended lists, S systems, p pairs of a case and an
item that some system recommends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.evaluate.references.system import Floats, Ints, Longs, above_popularity
from recsys.schemas import FIRST_ITEM, PADDING

_ROUNDS = 50
_LEAST_CHANGE = 1e-6
_DECAY = 1e-3  # keeps the weights finite where a system is never wrong


@dataclass(frozen=True)
class Hybrid:
    """The blend.

    Args:
        weights: of the systems
        length: M
        popularity: of each item [V]
    """

    weights: Mapping[str, float]
    length: int
    popularity: Floats
    name: str = "hybrid"

    def blended(self, lists: Mapping[str, Ints]) -> Floats:
        """The scores [N, V].

        Args:
            lists: of each system, best first, then PADDING [N, M]
        """
        cases = len(next(iter(lists.values())))
        scores_NV = np.zeros((cases, len(self.popularity)))
        for system, weight in self.weights.items():
            item_NM = lists[system]
            case, place = np.nonzero(item_NM != PADDING)
            said_M = weight * says(item_NM.shape[1], self.length)
            scores_NV[case, item_NM[case, place]] += said_M[place]
        return above_popularity(scores_NV, self.popularity)


def says(places: int, length: int) -> Floats:
    """What a list says of the items at its places: log((length + 1) / rank)."""
    return np.asarray(np.log((length + 1) / np.arange(1, places + 1)))


@dataclass(frozen=True)
class Choices:
    """Cases of validation, and what the systems say of the items of their lists.

    Args:
        case: rising [p]
        said: [p, S]
        is_target: whether the item came next [p]
    """

    case: Longs
    said: Floats
    is_target: npt.NDArray[np.bool_]


def choices(cases: pa.Table, systems: Sequence[str], length: int) -> Choices:
    """From the lists of the systems for the same cases.

    Args:
        cases: user_id, step, system, targets and recommended of schemas.CASES
        systems: S
        length: M
    """
    user, step = cases.column("user_id").to_pylist(), cases.column("step").to_pylist()
    number = {key: place for place, key in enumerate(sorted(set(zip(user, step, strict=True))))}
    case_n = np.array([number[key] for key in zip(user, step, strict=True)], np.int64)
    system_n = cases.column("system").to_numpy()
    listed, place = _entries(cases.column("recommended"))
    row = np.repeat(np.arange(len(case_n)), place)
    rank = np.arange(len(listed)) - np.repeat(np.cumsum(place) - place, place)
    is_short = rank < length
    listed, row, rank = listed[is_short], row[is_short], rank[is_short]
    most = int(listed.max(initial=0)) + 1
    key_p, of = np.unique(case_n[row] * most + listed, return_inverse=True)
    said = np.zeros((len(key_p), len(systems)))
    column = np.array([list(systems).index(name) for name in system_n], np.int64)
    said[of, column[row]] = says(length, length)[rank]
    target, targets = _entries(cases.column("targets"))
    is_item = (target >= FIRST_ITEM) & (target < most)
    target_key = (np.repeat(case_n, targets) * most + target)[is_item]
    return Choices(key_p // most, said, np.isin(key_p, target_key))


def _entries(lists: pa.ChunkedArray) -> tuple[Longs, Longs]:
    """All entries, and how many each list has."""
    length = np.array([len(own) for own in lists.to_pylist()], np.int64)
    return pa.concat_arrays(lists.chunks).flatten().to_numpy().astype(np.int64), length


def learn(seen: Choices) -> Floats:
    """The weights that make what came next most likely [S]; none is below zero.

    Newton's method; of systems whose weights would fall below zero the lowest is left out, then
    again: without it another may be above.
    """
    systems = seen.said.shape[1]
    kept = np.ones(systems, bool)
    while kept.any():
        weights = np.zeros(systems)
        weights[kept] = _most_likely(seen, kept)
        if (weights >= 0).all():
            return weights
        kept[weights.argmin()] = False
    return np.zeros(systems)


def _most_likely(seen: Choices, kept: npt.NDArray[np.bool_]) -> Floats:
    said = seen.said[:, kept]
    weights = np.zeros(said.shape[1])
    start = np.searchsorted(seen.case, np.unique(seen.case))
    of = np.repeat(np.arange(len(start)), np.diff(np.append(start, len(seen.case))))
    targets = np.add.reduceat(seen.is_target, start, dtype=np.int64).astype(float)
    if targets.sum() == 0:
        return weights
    best, share = _likelihood(weights, said, seen.is_target, start, of)
    for _ in range(_ROUNDS):
        expected = np.add.reduceat(share[:, None] * said, start)
        gradient = said[seen.is_target].sum(axis=0) - targets @ expected - _DECAY * weights
        counted = (share * targets[of])[:, None]
        curvature = said.T @ (counted * said) - expected.T @ (targets[:, None] * expected)
        change = np.linalg.solve(curvature + _DECAY * np.eye(len(weights)), gradient)
        # Far from the top a whole step may lead down, and further away each time.
        found, there = _likelihood(weights + change, said, seen.is_target, start, of)
        while found < best and np.abs(change).max() >= _LEAST_CHANGE:
            change /= 2
            found, there = _likelihood(weights + change, said, seen.is_target, start, of)
        if found < best or np.abs(change).max() < _LEAST_CHANGE:
            break
        weights, best, share = weights + change, found, there
    return weights


def _likelihood(
    weights: Floats, said: Floats, is_target: npt.NDArray[np.bool_], start: Longs, of: Longs
) -> tuple[float, Floats]:
    """The logarithm of what came next's likelihood, less the decay; each item's probability [p]."""
    score = said @ weights
    score -= np.maximum.reduceat(score, start)[of]
    share = np.exp(score)
    total = np.add.reduceat(share, start)
    logs = (score - np.log(total)[of])[is_target].sum()
    return float(logs - _DECAY * weights @ weights / 2), share / total[of]
