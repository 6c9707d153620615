"""What models say of some users, who come in one order and company after the other.

    python -m tests.score.arrangements MODEL_VERSION ...

prints, as JSON, each version with the users whose vectors, scores or probabilities have other bits
in one of them: the processor's kernels that TensorFlow calls are those of the environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from recsys import saved_model
from recsys.arrays import pad
from recsys.encoding import Rows
from recsys.saved_model import ITEM_READS, PAIR_READS, Encoder
from recsys.schemas import FIRST_ITEM
from recsys.score import histories, pairs
from recsys.score.shelf import ExactShelf
from recsys.tiles import whole
from tests.score.worlds import ITEMS

_USERS = 250
_LENGTH = 40
_CANDIDATES = 30
# Items of a shelf of a thousand: there products of many rows and of few have different kernels.
_ON_SHELF = 1000


def main(versions: list[str]) -> None:
    print(json.dumps({version: _others(version) for version in versions}))


def _others(version: str) -> list[int]:
    rng = np.random.default_rng(0)
    ranker = saved_model.load(f"{version}/export")
    found = ranker.of_items(np.arange(FIRST_ITEM + ITEMS, dtype=np.int32))
    reads = [np.asarray(found[name]) for name in (ITEM_READS, PAIR_READS)]
    encoder, width = Encoder(f"{version}/encoder", *reads), found["vectors"].shape[1]
    items = np.arange(FIRST_ITEM, FIRST_ITEM + _ON_SHELF, dtype=np.int32)
    drawn = rng.normal(size=(_ON_SHELF, width)).astype(np.float32)
    shelf = ExactShelf(items, drawn, _ON_SHELF, FIRST_ITEM + _ON_SHELF)
    rows = _histories(rng)
    candidate_UK = rng.integers(FIRST_ITEM, FIRST_ITEM + ITEMS, size=(_USERS, _CANDIDATES))
    said = partial(_said, encoder, shelf, rows, candidate_UK.astype(np.int32))
    different: set[int] = set()
    for at_once in (168, 70):
        first, *others = [said(users, at_once) for users in _arrangements(rng)]
        different |= {user for here in others for user in here if here[user] != first[user]}
    return sorted(different)


def _histories(rng: np.random.Generator) -> Rows:
    """Of an event a step: most of them of about 16, so many that a product's last rows are few."""
    some, any_U = rng.integers(15, 17, _USERS), rng.integers(1, _LENGTH + 1, _USERS)
    length_U1 = np.where(rng.random(_USERS) < 0.75, some, any_U)[:, None]
    step_UL = np.tile(np.arange(_LENGTH), (_USERS, 1))
    item_UL = rng.integers(FIRST_ITEM, FIRST_ITEM + ITEMS, step_UL.shape)
    rows = {
        "item": item_UL, "event_type": np.full_like(step_UL, FIRST_ITEM), "step": step_UL,
        "gap_seconds": 3600 * (step_UL > 0), "session_start": 1 * (step_UL == 0),
        "timestamp": 3600 * step_UL, "platform": np.full_like(step_UL, FIRST_ITEM),
    }  # fmt: skip
    return {name: np.where(step_UL < length_U1, own, pad(name)) for name, own in rows.items()}


def _arrangements(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """All of them, some of them, and those in other orders."""
    yield np.arange(_USERS)
    yield rng.permutation(_USERS)
    yield rng.permutation(_USERS)[: _USERS // 2]


def _said(
    encoder: Encoder,
    shelf: ExactShelf,
    rows: Rows,
    candidate_UK: np.ndarray,
    users: np.ndarray,
    at_once: int,
) -> dict[int, bytes]:
    """All that is said of each user, as bytes."""
    found = {}
    for start in range(0, len(users), at_once):
        user_B = users[start : start + at_once]
        block = {name: _filled(values[user_B], name, at_once) for name, values in rows.items()}
        names = pa.array([f"user-{user}" for user in user_B])
        encoded = histories.encode(encoder, block, names)
        score_BM, item_BM = shelf.best(encoded.vectors, encoded.pairs, 20)
        row_P = np.repeat(np.arange(len(user_B)), _CANDIDATES)
        probability_P = pairs.probability(encoder, block, row_P, candidate_UK[user_B].ravel())
        probability_BK = probability_P.reshape(len(user_B), _CANDIDATES)
        for row, user in enumerate(user_B):
            own = encoded.pairs.of_rows(np.array([row]), len(encoded.vectors))
            parts = (encoded.vectors[row], own.item, own.score, score_BM[row], item_BM[row])
            found[int(user)] = b"".join(each.tobytes() for each in (*parts, probability_BK[row]))
    return found


def _filled(values: np.ndarray, name: str, at_once: int) -> np.ndarray:
    fill = ((0, whole(at_once) - len(values)), (0, 0))
    return np.pad(values, fill, constant_values=pad(name))


if __name__ == "__main__":
    main(sys.argv[1:])
