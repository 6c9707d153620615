"""Ranks, the tie rule and top-k: once, for train, evaluate and score.

TensorFlow is loaded when a function first needs it, so that rooms of Spark can import this one.
Shapes: C cases, V vocabulary, K length of a list, P targets, L events; for lists made in blocks
B users, D width of a vector, N items of a block, P pairs of a user and an item.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recsys.schemas import FIRST_ITEM

if TYPE_CHECKING:
    import tensorflow as tf

Ints = npt.NDArray[np.int32]

# Items whose maximum top_k looks at first, and how many more such windows than k it takes to pay.
_WINDOW = 32
_WORTHWHILE = 4


def without_reserved(scores_CV: Any) -> tf.Tensor:
    """The scores with padding and the unknown item out of every list."""
    import tensorflow as tf

    scores_CV = tf.convert_to_tensor(scores_CV)
    cases = tf.shape(scores_CV)[0]
    case_N = tf.repeat(tf.range(cases), FIRST_ITEM)
    places_N2 = tf.stack([case_N, tf.tile(tf.range(FIRST_ITEM), [cases])], axis=1)
    worst_N = tf.fill([cases * FIRST_ITEM], scores_CV.dtype.min)
    return tf.tensor_scatter_nd_update(scores_CV, places_N2, worst_N)


def without_history(scores_CV: Any, item_CL: Any) -> tf.Tensor:
    """The scores with the items of each case's history out of its list."""
    import tensorflow as tf

    scores_CV = tf.convert_to_tensor(scores_CV)
    cases, events = tf.unstack(tf.shape(item_CL))
    case_N = tf.repeat(tf.range(cases), events)
    places_N2 = tf.stack([case_N, tf.reshape(tf.cast(item_CL, tf.int32), [-1])], axis=1)
    worst_N = tf.fill([cases * events], scores_CV.dtype.min)
    return tf.tensor_scatter_nd_min(scores_CV, places_N2, worst_N)


def top_k(scores_CV: Any, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best scores and their items [C, K], best first; of equal ones the lower index.

    They lie in the k windows of neighbouring items with the best maxima, of equal ones the first:
    before an item of another window come at least these k maxima. So only these are sorted.
    """
    import tensorflow as tf

    scores_CV = tf.convert_to_tensor(scores_CV)
    items = scores_CV.shape[1]
    k = min(k, items)
    if not _is_windowed(items, k):
        return tuple(tf.math.top_k(scores_CV, k))
    scores_CV = _in_windows(scores_CV)
    scores_CNW = tf.reshape(scores_CV, [-1, scores_CV.shape[1] // _WINDOW, _WINDOW])
    window_CK = tf.sort(tf.math.top_k(tf.reduce_max(scores_CNW, axis=2), k, sorted=False).indices)
    found = tf.gather(scores_CNW, window_CK, batch_dims=1)
    best_CK, place_CK = tf.math.top_k(tf.reshape(found, [-1, k * _WINDOW]), k)
    window_CK = tf.gather(window_CK, place_CK // _WINDOW, batch_dims=1)
    return best_CK, window_CK * _WINDOW + place_CK % _WINDOW


def _is_windowed(items: int, k: int) -> bool:
    return -(-items // _WINDOW) >= _WORTHWHILE * k


def _in_windows(scores_CV: tf.Tensor) -> tf.Tensor:
    """The scores, filled up to whole windows with what is in no list."""
    import tensorflow as tf

    never = tf.constant(-np.inf, scores_CV.dtype)
    behind = -scores_CV.shape[1] % _WINDOW
    return tf.pad(scores_CV, [[0, 0], [0, behind]], constant_values=never) if behind else scores_CV


def listed(
    scores_CV: tf.Tensor, case_P: Any, item_P: Any, k: int, left_out_CL: Any = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The lists of cases, and where in them their targets are.

    Args:
        scores_CV: of all items
        case_P: of each target
        item_P: of each target
        k: items that are listed: as many as target_ranks has to see
        left_out_CL: items that are in no list, besides the reserved

    Returns:
        as of top_k, and as of target_ranks
    """
    import tensorflow as tf

    if _is_windowed(scores_CV.shape[1], k):
        scores_CV = _in_windows(scores_CV)  # first: what is left out is then so in place
    scores_CV = without_reserved(scores_CV)
    if left_out_CL is not None:
        scores_CV = without_history(scores_CV, left_out_CL)
    top_CK, item_CK = top_k(scores_CV, k)
    target_P = tf.gather_nd(scores_CV, tf.stack([case_P, item_P], axis=1))
    return top_CK, item_CK, target_ranks(top_CK, target_P, case_P)


@functools.cache
def compiled_listing(
    items: int, kind: Any, k: int, leaves_out: bool
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """`listed` as a graph, in which less is copied.

    Args:
        items: V
        kind: of the scores
        k: as of listed
        leaves_out: whether left_out_CL will be given
    """
    import tensorflow as tf

    integers = tf.TensorSpec([None], tf.int32)
    left_out = [tf.TensorSpec([None, None], tf.int32)] if leaves_out else []
    given = [tf.TensorSpec([None, items], kind), integers, integers, *left_out]

    @tf.function(input_signature=given, autograph=False)  # type: ignore[untyped-decorator]
    def lists(
        scores_CV: tf.Tensor, case_P: tf.Tensor, item_P: tf.Tensor, *left_out_CL: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return listed(scores_CV, case_P, item_P, k, *left_out_CL)

    return lists  # type: ignore[no-any-return]


def best_of_blocks(
    vectors_BD: Any, blocks: Sequence[tf.Tensor], added: Added, k: int, among: Among | None = None
) -> tuple[npt.NDArray[np.float32], Ints]:
    """The k best scores and places [B, K] over blocks of items, best first, as top_k would rank.

    Never more than the scores of one block are in memory.

    Args:
        vectors_BD: of the users
        blocks: vectors [N, D] of the items, whose places count on from block to block
        added: what some pairs score beyond the product
        k: length of a list; what is not filled scores -inf
        among: the items that are looked at; none is all
    """
    import tensorflow as tf

    users_BD = tf.constant(vectors_BD)
    users, width = users_BD.shape
    best = (tf.fill([users, k], -np.inf), tf.zeros([users, k], tf.int32))
    pairs = tuple(tf.constant(part) for part in (added.row, added.place, added.score))
    start = 0
    for block_ND in blocks:
        items = block_ND.shape[0]
        merge = _merge_block(items, width, k, among is not None)
        chosen = () if among is None else (tf.constant(among.places(start, items)),)
        best = merge(users_BD, block_ND, tf.constant(start), *pairs, *best, *chosen)
        start += items
    return best[0].numpy(), best[1].numpy()


@dataclass(frozen=True)
class Added:
    """Scores of single pairs beyond the product of their vectors.

    Args:
        row: of the user [P]
        place: of the item [P]
        score: what is added [P]; -inf leaves the item out of the user's list
    """

    row: Ints
    place: Ints
    score: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Among:
    """Which items each user's best are taken from, by groups of the items.

    Args:
        is_open_BG: whether those of a group are
        group_N: of the item of each place
    """

    is_open_BG: npt.NDArray[np.bool_]
    group_N: Ints

    def places(self, start: int, items: int) -> npt.NDArray[np.bool_]:
        """Whether the items of some places are [B, items]."""
        return np.take(self.is_open_BG, self.group_N[start : start + items], axis=1)


@functools.cache
def _merge_block(
    items: int, width: int, k: int, is_among: bool
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Merges the scores of a block of so many items into the best of those before."""
    import tensorflow as tf

    def spec(shape: list[int | None], kind: Any = tf.int32) -> tf.TensorSpec:
        return tf.TensorSpec(shape, kind)

    # As one graph the pairs are added in place.
    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            spec([None, width], tf.float32), spec([items, width], tf.float32), spec([]),
            spec([None]), spec([None]), spec([None], tf.float32),
            spec([None, k], tf.float32), spec([None, k]),
            *([spec([None, items], tf.bool)] if is_among else []),
        ]
    )  # fmt: skip
    def merge(
        vectors_BD: tf.Tensor, block_ND: tf.Tensor, start: tf.Tensor,
        row_P: tf.Tensor, place_P: tf.Tensor, added_P: tf.Tensor,
        score_BK: tf.Tensor, place_BK: tf.Tensor, is_open_BN: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:  # fmt: skip
        scores_BN = tf.matmul(vectors_BD, block_ND, transpose_b=True)
        if is_open_BN is not None:
            scores_BN = tf.where(is_open_BN, scores_BN, -np.inf)
        is_here_P = (place_P >= start) & (place_P < start + items)
        pairs_P2 = tf.boolean_mask(tf.stack([row_P, place_P - start], axis=1), is_here_P)
        added_P = tf.boolean_mask(added_P, is_here_P)
        own_BK, where_BK = top_k(tf.tensor_scatter_nd_add(scores_BN, pairs_P2, added_P), k)
        # Places rise from block to block: the former best stand first where scores are equal.
        places = tf.concat([place_BK, where_BK + start], axis=1)
        best_BK, order_BK = top_k(tf.concat([score_BK, own_BK], axis=1), k)
        return best_BK, tf.gather(places, order_BK, batch_dims=1)

    return merge  # type: ignore[no-any-return]


def target_ranks(top_scores_CK: Any, target_score_P: Any, case_P: Any) -> tf.Tensor:
    """The rank of each target in its case's list [P], from 1; 0 where it is not in the list.

    Ties count against the system: a target stands behind all that score as much, but for the
    targets of its case that do: these follow each other in the order given. No arrangement of what
    is tied has the targets further behind.

        scores 9 7 7 7 5, of items a b c d e     targets c d a     ranks 3 4 1

    For lists of K and cases of up to M targets, give the K + M best scores: they tell how a tie
    goes on beyond the list. Of K + 1 a tie of several targets that does so has none in the list.
    """
    import tensorflow as tf

    case_P = tf.convert_to_tensor(case_P)
    top_PK = tf.gather(tf.convert_to_tensor(top_scores_CK), case_P)
    target_P1 = tf.convert_to_tensor(target_score_P)[:, None]
    last_P = tf.reduce_sum(tf.cast(top_PK >= target_P1, tf.int32), axis=1)
    length = tf.shape(top_PK)[1]
    # Targets of a case are tied where as many items score at least as much.
    key_P = tf.cast(case_P, tf.int64) * tf.cast(length + 1, tf.int64) + tf.cast(last_P, tf.int64)
    order_P = tf.argsort(key_P, stable=True)
    end_P = tf.searchsorted(tf.gather(key_P, order_P), key_P, side="right")
    behind_P = end_P - 1 - tf.math.invert_permutation(order_P)
    return tf.where(last_P < length, last_P - behind_P, 0)
