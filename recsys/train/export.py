"""The SavedModel: the recommender with its vocabulary, for whoever serves or scores.

Signatures, all over B rows of L events:
    serving_default  item ids, event types and times as the log has them, where the model reads
                     them platforms, query_1 ... of recsys.text.query_tokens, and prices and
                     quantities as float64, NaN where there is none -> best items, scores; a search
                     has any item id that is not "" and no item's
    scores           indexes as in the dataset's histories -> scores of all items [B, V]
    cases            indexes as in the dataset's sequences, and the vectors of `items`, which many
                     calls share -> scores of every target step [C, V]
    encode           indexes as in the dataset's histories -> vectors [B, D + 1], and what their own
                     items add: row [Q], item [Q], added [Q]
    encode_raw       events as of serving_default -> what encode gives
    purchase         as serving_default, and item ids [B, K] that may come next -> the probability
                     of each to be bought in the session, and whether the model knows the item
    purchase_pairs   indexes as in the dataset's sequences, and row [P], step [P] and item [P] that
                     comes there -> probability [P]
    items            nothing -> vectors [V, D + 1]; a row's scores are its vector times these, plus
                     what its own items add
    of_items         indexes of items [K] -> vectors [K, D + 1], and what the network reads of each
                     [K, R], and a purchase head [K, D + 1], for recsys.train.encoder: a catalogue
                     in parts
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from recsys import ranking
from recsys.saved_model import ITEM_READS, PAIR_READS
from recsys.scale import Scale
from recsys.schemas import FIRST_ITEM
from recsys.train.batch import Batch, Cases, after_last, spec, target_cases, trim
from recsys.train.model import Recommender
from recsys.train.raw_events import RawEvents
from recsys.train.scored import with_one


class Export(tf.Module):
    """What is saved.

    Args:
        model: the trained recommender
        item_ids: the vocabulary's items, from index FIRST_ITEM on
        names: the event types, and the platforms if the model reads them, from index FIRST_ITEM on
        exclude_history: whether lists leave out what the history holds
        scales: of the manifest's event_numbers, those that the model reads at least
    """

    def __init__(
        self,
        model: Recommender,
        item_ids: list[str],
        names: Mapping[str, Sequence[str]],
        exclude_history: bool,
        scales: Mapping[str, Scale] | None = None,
    ) -> None:
        super().__init__(name="export")
        self.model = model
        self.exclude_history = exclude_history
        self.raw = RawEvents(model.events.columns, item_ids, names, scales or {})
        self.item_ids = tf.constant(["", "", *item_ids])

    def next_scores(self, batch: Batch) -> tf.Tensor:
        """Scores [B, V] of what comes after each row's last step."""
        batch = trim(batch)
        return self.model.scores(batch, *after_last(batch))

    def scores(self, **rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        return {"scores": self.next_scores(rows)}

    def encode(self, **rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        batch = trim(rows)
        row_B, step_B = after_last(batch)
        state_BD = self.model.encode(batch, row_B, step_B)
        places_Q2, added_Q = self.model.repeat_scores(batch, row_B, step_B, state_BD)
        return {
            "vectors": with_one(state_BD),
            "row": tf.cast(places_Q2[:, 0], tf.int32),
            "item": tf.cast(places_Q2[:, 1], tf.int32),
            "added": added_Q,
        }

    def encode_raw(self, **raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name, of raw events."""
        return self.encode(**self.raw.rows(raw))

    def items(self) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        return {"vectors": self.model.item_vectors()}

    def of_items(self, item: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        found = {
            "vectors": self.model.item_vectors(item),
            ITEM_READS: self.model.item_reads(item),
        }
        if self.model.purchase is not None:
            found[PAIR_READS] = self.model.pair_reads(item)
        return found

    def cases(self, vectors: tf.Tensor, **rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        batch = trim(rows)
        row_C, step_C, *_ = target_cases(batch)
        state_CD = self.model.encode(batch, row_C, step_C)
        scores_CV = self.model.scores_of(batch, row_C, step_C, state_CD, vectors)
        return {"row": row_C, "step": step_C, "scores": scores_CV}

    def recommend(self, k: tf.Tensor, **raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature serving_default, of raw events."""
        batch = self.raw.rows(raw)
        scores_BV = ranking.without_reserved(self.next_scores(batch))
        if self.exclude_history:
            scores_BV = ranking.without_history(scores_BV, batch["item"])
        best = tf.math.top_k(scores_BV, k)
        return {"item_ids": tf.gather(self.item_ids, best.indices), "scores": best.values}

    def purchase_pairs(
        self,
        pair_row: tf.Tensor,
        pair_step: tf.Tensor,
        pair_item: tf.Tensor,
        pair_reads: tf.Tensor | None = None,
        **rows: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        pairs = (pair_row, pair_step, pair_item, pair_reads)
        return {"probability": self._purchase(trim(rows), *pairs)}

    def purchase(self, candidate_ids: tf.Tensor, **raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name, of raw events."""
        batch = self.raw.rows(raw)
        item_BK = self.model.known_only(self.raw.item_index.lookup(candidate_ids))
        row_B, step_B = after_last(batch)
        item_P, count = tf.reshape(item_BK, [-1]), tf.shape(item_BK)[1]
        probability_P = self._purchase(
            batch, tf.repeat(row_B, count), tf.repeat(step_B, count), item_P
        )
        return {
            "probability": tf.reshape(probability_P, tf.shape(item_BK)),
            "is_known": item_BK >= FIRST_ITEM,
        }

    def _purchase(
        self,
        batch: Batch,
        row_P: tf.Tensor,
        step_P: tf.Tensor,
        item_P: tf.Tensor,
        reads_PR: tf.Tensor | None = None,
    ) -> tf.Tensor:
        state_PD = self.model.encode(batch, row_P, step_P)
        item_P = self.model.known_only(item_P)
        pairs = Cases(row_P, step_P, tf.range(tf.size(item_P)), item_P)
        return tf.sigmoid(self.model.purchase_logits(batch, pairs, state_PD, reads_PR, tiled=True))


def input_specs(
    model: Recommender, rows: int | None, length: int | None
) -> dict[str, tf.TensorSpec]:
    """What a signature over so many rows of so many indexes takes; None is any number."""
    return {name: spec(name, rows, length) for name in model.events.columns}


def pair_specs() -> dict[str, tf.TensorSpec]:
    """What a signature over pairs of a step and an item takes."""
    names = ("pair_row", "pair_step", "pair_item")
    return {name: tf.TensorSpec([None], tf.int32, name) for name in names}


def traced(function: Callable[..., dict[str, tf.Tensor]], **inputs: tf.TensorSpec) -> Any:
    """The function as a graph over such inputs, and as no part of a module.

    Functions that are, TensorFlow traces once more when it saves, and their gradients, too: an
    export took some four times as long.
    """
    return tf.function(function, autograph=False).get_concrete_function(**inputs)


def save(export: Export, folder: str) -> None:
    """Writes the SavedModel to a local folder."""
    index = input_specs(export.model, None, None)
    with_targets = {**index, "target": spec("target")}
    vectors = tf.TensorSpec([export.model.vocabulary_size, None], tf.float32, "vectors")
    raw = export.raw.specs()
    signatures = {
        "serving_default": traced(export.recommend, k=tf.TensorSpec([], tf.int32, "k"), **raw),
        "scores": traced(export.scores, **index),
        "encode": traced(export.encode, **index),
        "encode_raw": traced(export.encode_raw, **raw),
        "items": traced(export.items),
        "of_items": traced(export.of_items, item=tf.TensorSpec([None], tf.int32, "item")),
        "cases": traced(export.cases, vectors=vectors, **with_targets),
    }
    if export.model.purchase is not None:
        signatures |= {
            "purchase": traced(
                export.purchase,
                candidate_ids=tf.TensorSpec([None, None], tf.string, "candidate_ids"), **raw,
            ),
            "purchase_pairs": traced(export.purchase_pairs, **pair_specs(), **index),
        }  # fmt: skip
    tf.saved_model.save(export, folder, signatures=signatures, options=without_gradients())


def without_gradients() -> tf.saved_model.SaveOptions:
    """Nobody trains what is exported: its gradients are not traced."""
    return tf.saved_model.SaveOptions(experimental_custom_gradients=False)
