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
                     items add: row [P], item [P], added [P]
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
from recsys.scale import MOST_DEVIATIONS, Scale
from recsys.schemas import EVENT_NUMBERS, FIRST_ITEM, UNKNOWN
from recsys.train.batch import Batch, Cases, spec, target_cases, trim
from recsys.train.model import Recommender
from recsys.train.scored import with_one

# What a signature that takes the log's own values calls them.
_RAW_NUMBERS = {"price": "prices", "quantity": "quantities"}


def _lookup(values: list[str]) -> tf.lookup.StaticHashTable:
    indexes = tf.range(FIRST_ITEM, FIRST_ITEM + len(values), dtype=tf.int32)
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(values), indexes)
    return tf.lookup.StaticHashTable(pairs, default_value=UNKNOWN)


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
        self.item_index = _lookup(item_ids)
        self.indexes = {
            f"{name}s": _lookup(list(values))
            for name, values in names.items()
            if name in model.events.columns
        }
        self.queries = [name for name in model.events.columns if name.startswith("query_")]
        self.numbers = {
            _RAW_NUMBERS[name]: (name, (scales or {})[name])
            for name in model.events.columns
            if name in EVENT_NUMBERS
        }
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
        places_P2, added_P = self.model.repeat_scores(batch, row_B, step_B, state_BD)
        return {
            "vectors": with_one(state_BD),
            "row": tf.cast(places_P2[:, 0], tf.int32),
            "item": tf.cast(places_P2[:, 1], tf.int32),
            "added": added_P,
        }

    def encode_raw(
        self,
        item_ids: tf.Tensor,
        timestamps: tf.Tensor,
        session_starts: tf.Tensor,
        **names: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The signature of the same name: raw events [B, L] as of serving_default."""
        return self.encode(**self.from_raw(item_ids, timestamps, session_starts, names))

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

    def recommend(
        self,
        item_ids: tf.Tensor,
        timestamps: tf.Tensor,
        session_starts: tf.Tensor,
        k: tf.Tensor,
        **names: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The signature serving_default: raw events [B, L], oldest first, "" pads at the end."""
        batch = self.from_raw(item_ids, timestamps, session_starts, names)
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

    def purchase(
        self,
        item_ids: tf.Tensor,
        timestamps: tf.Tensor,
        session_starts: tf.Tensor,
        candidate_ids: tf.Tensor,
        **names: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The signature of the same name: raw events [B, L] as of serving_default."""
        batch = self.from_raw(item_ids, timestamps, session_starts, names)
        item_BK = self.model.known_only(self.item_index.lookup(candidate_ids))
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

    def from_raw(
        self,
        item_ids_BL: tf.Tensor,
        timestamps_BL: tf.Tensor,
        session_starts_BL: tf.Tensor,
        names: Mapping[str, tf.Tensor],
    ) -> Batch:
        """The arrays of the dataset's histories, from the log's own values."""
        is_event = item_ids_BL != ""
        before = tf.concat([timestamps_BL[:, :1], timestamps_BL[:, :-1]], axis=1)
        elapsed = tf.cast(timestamps_BL - before, tf.int32)
        is_new_step = (elapsed > 0) & is_event
        step = tf.cumsum(tf.cast(is_new_step, tf.int32), axis=1)
        # All events of a step carry the time since the step before.
        batch = {name: tf.where(is_event, names[name], 0) for name in self.queries}
        batch |= {
            key.removesuffix("s"): tf.where(is_event, table.lookup(names[key]), 0)
            for key, table in self.indexes.items()
        }
        batch |= {
            name: tf.where(is_event, normalized(names[key], scale), 0.0)
            for key, (name, scale) in self.numbers.items()
        }
        return {
            **batch,
            "item": tf.where(is_event, self.item_index.lookup(item_ids_BL), 0),
            "timestamp": tf.where(is_event, timestamps_BL, 0),
            "gap_seconds": tf.where(is_new_step, elapsed, 0),
            "session_start": tf.where(is_event, session_starts_BL, 0),
            "step": tf.where(is_event, step, -1),
        }


def normalized(raw: tf.Tensor, scale: Scale) -> tf.Tensor:
    """Scale.normalized of float64 numbers of any shape, in operations of a graph; float32."""
    is_missing = tf.math.is_nan(raw)
    own = tf.where(is_missing, tf.zeros_like(raw), raw)
    if scale.least is not None and scale.most is not None:
        own = tf.clip_by_value(own, scale.least, scale.most)
    if scale.by == "quantile":
        known, flat = tf.constant(scale.known, tf.float64), tf.reshape(own, [-1])
        places = tf.add_n([tf.searchsorted(known, flat, side) for side in ("left", "right")])
        ranks = tf.cast(places, tf.float64) / len(scale.known) - 1.0
        found = tf.reshape(ranks, tf.shape(own))
    else:
        own = tf.sign(own) * tf.math.log1p(tf.abs(own)) if scale.by == "log" else own
        away = (own - scale.mean) / scale.deviation
        found = tf.clip_by_value(away, -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return tf.where(is_missing, 0.0, tf.cast(found, tf.float32))


def after_last(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Row [B] and step [B] of what comes after each row's last step."""
    step_B = tf.reduce_max(batch["step"], axis=1) + 1
    return tf.range(tf.shape(step_B)[0]), step_B


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
    raw = {
        "item_ids": tf.TensorSpec([None, None], tf.string, "item_ids"),
        "timestamps": tf.TensorSpec([None, None], tf.int64, "timestamps"),
        "session_starts": tf.TensorSpec([None, None], tf.int32, "session_starts"),
        **{name: tf.TensorSpec([None, None], tf.string, name) for name in export.indexes},
        **{name: spec(name) for name in export.queries},
        **{name: tf.TensorSpec([None, None], tf.float64, name) for name in export.numbers},
    }
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
