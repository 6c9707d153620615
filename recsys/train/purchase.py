"""The second head: the probability that an item which comes next is bought in the session.

What a label is stands in recsys.prepare.purchases. Shapes: B rows, L events, P pairs of a case and
an item, D width, E event types, H hidden units.
"""

from __future__ import annotations

import tensorflow as tf

from recsys.config import Train
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.schemas import BOUGHT, FIRST_ITEM, NO_LABEL
from recsys.train.batch import Batch
from recsys.train.precision import in_tiles

# What the head learns from, beside what every model reads.
LABEL = "purchase"


def check_labels(dataset: Manifest, train: Train) -> None:
    """Makes sure that a head, if there shall be one, has something to learn and to be judged by.

    Raises:
        ConfigError: the dataset was made without labels
        DataError: train or validation has none of a kind
    """
    if not train.purchase_weight:
        return
    if not dataset.config["prepare"].get("purchase_event_types"):
        raise ConfigError(
            "train.purchase_weight: expected a dataset whose targets are labelled with what is "
            f"bought, found {dataset.url} without; set prepare.purchase_event_types and run "
            "jobs/prepare.py again"
        )
    for name in ("train", "valid"):
        split = dataset.splits[name]
        if not 0 < split.bought < split.labels:
            raise DataError(
                f"{dataset.url}: expected targets of split {name} that are bought and others that "
                f"are not, for train.purchase_weight, found {split.bought} bought of {split.labels}"
            )


class PurchaseHead(tf.Module):
    """Two layers over a state, an item's vector and what the history did with the item.

        logit = b_item + w . relu(W [state, vector, state * vector, log(1 + n)] + c)

    where n counts the history's events of the item, one number an event type: whether it was looked
    at or lies in the cart. Before learning every probability is 1/2.

    Args:
        width: D, and of the hidden layer
        vocabulary_size: of the items
        event_type_size: E
        seed: of the start
    """

    def __init__(self, width: int, vocabulary_size: int, event_type_size: int, seed: int) -> None:
        super().__init__(name="purchase")
        inputs = 3 * width + event_type_size
        bound = inputs**-0.5
        draws = tf.random.stateless_uniform([inputs, width], [seed, 301], -bound, bound)
        self.event_types = event_type_size
        # Event types keep their weights by name, where more come later.
        kernel, by_type = tf.split(draws, [3 * width, event_type_size])
        self.kernel = tf.Variable(kernel, name="kernel")
        self.type_kernel = tf.Variable(by_type, name="event_type_kernel")
        self.bias = tf.Variable(tf.zeros([width]), name="bias")
        self.weights = tf.Variable(tf.zeros([width]), name="weights")
        self.item_bias = tf.Variable(tf.zeros([vocabulary_size]), name="item_bias")

    def __call__(
        self,
        state_PD: tf.Tensor,
        vector_PD: tf.Tensor,
        count_PE: tf.Tensor,
        bias_P: tf.Tensor,
        tiled: bool = False,
    ) -> tf.Tensor:
        """The logits [P]: their sigmoid is the probability.

        Args:
            state_PD: before the item
            vector_PD: of the item
            count_PE: events of the item in the history, by type
            bias_P: of the item
            tiled: multiply in_tiles
        """
        multiply = in_tiles if tiled else tf.matmul
        inputs_PI = tf.concat([state_PD, vector_PD, state_PD * vector_PD], axis=1)
        counted_PH = multiply(tf.math.log1p(count_PE), self.type_kernel)
        hidden_PH = tf.nn.relu(multiply(inputs_PI, self.kernel) + counted_PH + self.bias)
        return bias_P + tf.linalg.matvec(hidden_PH, self.weights)

    def earlier(
        self, batch: Batch, row_P: tf.Tensor, step_P: tf.Tensor, item_P: tf.Tensor
    ) -> tf.Tensor:
        """How many events of each type the steps before the given ones have of the item [P, E]."""
        before_PL = tf.gather(batch["step"], row_P) < step_P[:, None]
        is_same_PL = tf.gather(batch["item"], row_P) == item_P[:, None]
        place_M2 = tf.where(is_same_PL & before_PL & (item_P >= FIRST_ITEM)[:, None])
        event_type_M = tf.gather_nd(tf.gather(batch["event_type"], row_P), place_M2)
        cell_M = place_M2[:, 0] * self.event_types + tf.cast(event_type_M, tf.int64)
        pairs = tf.size(item_P)
        ones_M = tf.ones_like(cell_M, tf.float32)
        counts = tf.math.unsorted_segment_sum(ones_M, cell_M, pairs * self.event_types)
        return tf.reshape(counts, [pairs, self.event_types])


def labels(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Of each target event, by row and place: whether it has a label [P], and was bought [P]."""
    label_P = tf.boolean_mask(batch[LABEL], batch["target"] > 0)
    return label_P != NO_LABEL, label_P == BOUGHT


def purchase_loss_sum(logit_P: tf.Tensor, is_bought_P: tf.Tensor) -> tf.Tensor:
    """The sum over pairs of the binary cross-entropy, in nats."""
    labels_P = tf.cast(is_bought_P, logit_P.dtype)
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels_P, logit_P))
