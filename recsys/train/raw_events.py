"""Events as a log has them: what signatures take, and the dataset's arrays made of it.

Shapes: B rows, L events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from recsys.scale import MOST_DEVIATIONS, Scale
from recsys.schemas import EVENT_NUMBERS, FIRST_ITEM, UNKNOWN
from recsys.train.batch import Batch, spec

# What a signature that takes the log's own values calls them.
_RAW_NUMBERS = {"price": "prices", "quantity": "quantities"}


class RawEvents(tf.Module):
    """The vocabularies and scales between a log's values and the arrays of histories.

    It is a module, since a SavedModel has no tables but those of modules.

    Args:
        columns: arrays of a history that the model reads
        item_ids: the vocabulary's items, from index FIRST_ITEM on
        names: of arrays with a vocabulary of their own, its values from index FIRST_ITEM on
        scales: of numbers of events
    """

    def __init__(
        self,
        columns: Sequence[str],
        item_ids: list[str],
        names: Mapping[str, Sequence[str]],
        scales: Mapping[str, Scale],
    ) -> None:
        super().__init__(name="raw_events")
        self.item_index = _lookup(item_ids)
        self.indexes = {
            f"{name}s": _lookup(list(values)) for name, values in names.items() if name in columns
        }
        self.queries = [name for name in columns if name.startswith("query_")]
        self.numbers = {
            _RAW_NUMBERS[name]: (name, scales[name]) for name in columns if name in EVENT_NUMBERS
        }

    def specs(self) -> dict[str, tf.TensorSpec]:
        """What a signature takes of events, oldest first; item ids of "" pad at the end."""
        return {
            "item_ids": tf.TensorSpec([None, None], tf.string, "item_ids"),
            "timestamps": tf.TensorSpec([None, None], tf.int64, "timestamps"),
            "session_starts": tf.TensorSpec([None, None], tf.int32, "session_starts"),
            **{name: tf.TensorSpec([None, None], tf.string, name) for name in self.indexes},
            **{name: spec(name) for name in self.queries},
            **{name: tf.TensorSpec([None, None], tf.float64, name) for name in self.numbers},
        }

    def rows(self, raw: Mapping[str, tf.Tensor]) -> Batch:
        """The arrays of the dataset's histories [B, L], from values as of specs()."""
        item_id_BL, time_BL = raw["item_ids"], raw["timestamps"]
        is_event = item_id_BL != ""
        before = tf.concat([time_BL[:, :1], time_BL[:, :-1]], axis=1)
        elapsed = tf.cast(time_BL - before, tf.int32)
        is_new_step = (elapsed > 0) & is_event
        step = tf.cumsum(tf.cast(is_new_step, tf.int32), axis=1)
        # All events of a step carry the time since the step before.
        batch = {name: tf.where(is_event, raw[name], 0) for name in self.queries}
        batch |= {
            key.removesuffix("s"): tf.where(is_event, table.lookup(raw[key]), 0)
            for key, table in self.indexes.items()
        }
        batch |= {
            name: tf.where(is_event, normalized(raw[key], scale), 0.0)
            for key, (name, scale) in self.numbers.items()
        }
        return {
            **batch,
            "item": tf.where(is_event, self.item_index.lookup(item_id_BL), 0),
            "timestamp": tf.where(is_event, time_BL, 0),
            "gap_seconds": tf.where(is_new_step, elapsed, 0),
            "session_start": tf.where(is_event, raw["session_starts"], 0),
            "step": tf.where(is_event, step, -1),
        }


def _lookup(values: list[str]) -> tf.lookup.StaticHashTable:
    indexes = tf.range(FIRST_ITEM, FIRST_ITEM + len(values), dtype=tf.int32)
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(values), indexes)
    return tf.lookup.StaticHashTable(pairs, default_value=UNKNOWN)


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
