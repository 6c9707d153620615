"""What a step knows besides its items: the configured inputs of events, where the log has them.

Shapes: B rows, L events, T steps, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from recsys.encoding import INPUTS
from recsys.schemas import EVENT_NUMBERS, FIRST_ITEM
from recsys.train.batch import SECONDS_PER_DAY, Batch, flat_steps, largest

_SECONDS_PER_HOUR = 3600
_SECONDS_PER_MINUTE = 60.0
# 1970-01-01 was a Thursday.
_FIRST_WEEKDAY = 3

# More than a vocabulary has.
_MOST_ITEMS = 2**31

# Inputs with an embedding that is added to the event's vector, but for these numbers of the step,
# and for those of the event (EVENT_NUMBERS), each of which is multiplied with a vector of its own.
_SIZES = {"hour": 24, "weekday": 7}
_NUMBERS = ("gap", "session_start", "dwell", "again")
# Which inputs look at an array that every history has.
_READERS = {
    "event_type": {"event_type"},
    "gap_seconds": {"gap", "dwell"},
    "session_start": {"session_start", "dwell"},
}


def columns(names: Sequence[str], inputs: Mapping[str, int]) -> tuple[str, ...]:
    """The arrays of a history that a model with these inputs takes.

    Args:
        names: train.event_inputs
        inputs: of the manifest
    """
    found = [*INPUTS]
    if set(names) & {"hour", "weekday"}:
        found.append("timestamp")
    return (*found, *[array for name in names for array in arrays_of(name, inputs)])


def arrays_of(name: str, inputs: Mapping[str, int]) -> tuple[str, ...]:
    """The arrays of the manifest's inputs that an input of the model reads."""
    return tuple(array for array in inputs if array.split("_")[0] == name)


def unread(names: Sequence[str]) -> set[str]:
    """The arrays that every history has, and which none of these inputs looks at."""
    return {array for array, readers in _READERS.items() if not readers & set(names)}


def again(batch: Batch) -> tf.Tensor:
    """Whether an earlier step of the row has the event's item [B, L], which is a known one."""
    item_BL, step_BL = batch["item"], batch["step"]
    row_B1 = tf.range(tf.shape(item_BL, tf.int64)[0])[:, None]
    key_BL = row_B1 * _MOST_ITEMS + tf.cast(item_BL, tf.int64)
    key_Q, of_N = tf.unique(tf.reshape(key_BL, [-1]))
    # The latest backwards: TensorFlow Lite has this operation.
    backwards_N = tf.reshape(-step_BL, [-1])
    first_Q = -tf.math.unsorted_segment_max(backwards_N, of_N, tf.size(key_Q))
    first_BL = tf.reshape(tf.gather(first_Q, of_N), tf.shape(step_BL))
    return tf.cast((step_BL > first_BL) & (item_BL >= FIRST_ITEM), tf.int32)


class EventInputs:
    """Embeddings of what an event is, numbers of its own, and those of the step it belongs to.

    A step's dwell time is not known before the next step, so that a state never has its own: with
    each step the network reads how long the step before was looked at, where no session starts in
    between. Hour and weekday are those of UTC.

    Args:
        names: train.event_inputs
        event_types: rows of an embedding of event types
        inputs: of the manifest
        width: D
    """

    def __init__(
        self, names: Sequence[str], event_types: int, inputs: Mapping[str, int], width: int
    ) -> None:
        self.columns = columns(names, inputs)
        self._arrays = {name: arrays_of(name, inputs) for name in names}
        self._numbers = tuple(name for name in _NUMBERS if name in names)
        sizes = {"event_type": event_types, **_SIZES}
        sizes |= {name: inputs[arrays[0]] for name, arrays in self._arrays.items() if arrays}
        self.tables = {
            name: tf.Variable(tf.zeros([sizes[name], width]), name=f"{name}_embedding")
            for name in names
            if name not in (*_NUMBERS, *EVENT_NUMBERS)
        }
        self.tables |= {
            name: tf.Variable(tf.zeros([width]), name=f"{name}_projection")
            for name in names
            if name in EVENT_NUMBERS
        }

    @property
    def numbers(self) -> int:
        """How many numbers a step has."""
        return len(self._numbers)

    def add_vectors(self, event_BLD: tf.Tensor, batch: Batch) -> tf.Tensor:
        """The events' vectors with what embeddings and numbers add."""
        for name, table in self.tables.items():
            if name in EVENT_NUMBERS:
                event_BLD += batch[name][..., None] * table
                continue
            for index_BL in self._indexes(name, batch):
                vectors_BLD = tf.gather(table, index_BL)
                if name == "query":  # a search may have fewer words, and other events have none
                    vectors_BLD *= tf.cast(index_BL > 0, tf.float32)[..., None]
                event_BLD += vectors_BLD
        return event_BLD

    def _indexes(self, name: str, batch: Batch) -> list[tf.Tensor]:
        if name == "event_type":
            return [batch["event_type"]]
        if name == "hour":
            return [batch["timestamp"] // _SECONDS_PER_HOUR % _SIZES["hour"]]
        if name == "weekday":
            days_BL = batch["timestamp"] // int(SECONDS_PER_DAY)
            return [(days_BL + _FIRST_WEEKDAY) % _SIZES["weekday"]]
        return [batch[array] for array in self._arrays[name]]

    def step_numbers(self, batch: Batch) -> list[tf.Tensor]:
        """The numbers of every step, each [B, T].

        Args:
            batch: rows; items that the model does not know are the unknown one
        """
        return [self._number(name, batch) for name in self._numbers]

    @staticmethod
    def _number(name: str, batch: Batch) -> tf.Tensor:
        _, steps = flat_steps(batch["step"])

        def of_step(values_BL: tf.Tensor) -> tf.Tensor:
            return tf.cast(largest(values_BL, batch["step"], steps), tf.float32)

        if name == "again":
            return of_step(again(batch))
        if name == "session_start":
            return of_step(batch["session_start"])
        gap_BT = of_step(batch["gap_seconds"])
        if name == "gap":
            return tf.math.log1p(gap_BT / SECONDS_PER_DAY)
        starts_BT = of_step(batch["session_start"])
        return tf.math.log1p(gap_BT * (1.0 - starts_BT) / _SECONDS_PER_MINUTE)
