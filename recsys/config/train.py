"""From the dataset to a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from recsys.config.augment import Augment
from recsys.config.checks import require

ValidationMetric = Literal[
    "recall@10", "recall@20", "ndcg@10", "ndcg@20", "mrr@10", "mrr@20",
    "purchase_auc", "purchase_f1",
]  # fmt: skip
EventInput = Literal[
    "event_type", "gap", "session_start", "dwell", "hour", "weekday", "again", "platform",
    "query", "price", "quantity",
]  # fmt: skip


@dataclass(frozen=True)
class Train:
    """From the dataset to a model.

    Args:
        epochs: passes over the training rows, at most
        batch_targets_per_rank: targets of one step on one rank, at most
        optimizer: adam or adagrad
        learning_rate: reached after the warm-up
        learning_rate_by_ranks: multiply it by the number of ranks, with which the batch grows
        learning_rate_length_power: a step's rate times (targets a row of its batch / of all) **
            this; -1 makes all sequences move the weights alike, 0 all targets
        warmup_steps: steps over which the learning rate rises from 0
        decay: how the learning rate falls to 0 at the last step; none keeps it
        clip_norm: largest global norm of the gradient
        l1: weight of the absolute weights in the loss; of a table, of the rows that a step reads
        l2: weight of half the squared weights in the loss; of a table, of the rows that a step
            reads
        cell: of the recurrent network: rnn, gru or lstm
        layers: of cells
        readout: what lists are made from: the network's last state, or also those before it, by
            attention
        embedding_size: width of an item's vector, and of the network's state
        tied_output: score items with the vectors that the network reads of them; false gives the
            scores a table of items of their own, and own tables of the items' features
        event_inputs: what the network reads of an event besides its item: event_type; gap, the time
            since the step before; session_start; dwell, how long the step before was looked at
            within its session; hour and weekday (UTC); again, whether its item came before;
            platform; query, the words of a search; price and quantity, of prepare.event_numbers
        event_type_weights: event type to the weight of its targets in the loss; others have 1
        item_features: attributes of items, and of prepare.item_statistics popularity, conversion,
            recency and price_rank, whose vectors are added to an item's own
        normalize: give item vectors and states length 1, and scores no bias for popularity
        scale: of the scores between vectors of length 1
        repeat: learn how often and how lately bought items are bought again, and after what
        embedding_dropout: share of an event's vector that is zeroed in training
        input_dropout: share of a step's input that is zeroed in training
        state_dropout: share of the state that is zeroed in training before items are scored
        augment: how the sequences that training reads are changed anew in every epoch
        loss: cross_entropy, bpr_max or top1_max
        bpr_max_regularization: weight of the negatives' squared scores in bpr_max
        negatives: items drawn for a step, for its targets to be set against; 0 takes all that is
            trained on, or, with negatives_from_batch, those of the batch alone. In the
            cross-entropy their scores are corrected by the chance to be drawn (logQ)
        negatives_power: they are drawn by popularity to this power
        negatives_from_batch: the targets of a step's other cases on the same rank are negatives,
            too
        basket_power: 0 counts targets alike, 1 baskets: a target weighs (basket size) ** -this
        purchase_weight: of the mean loss of a second head, which learns the probability that the
            item that comes next is bought in the session; 0 has no such head
        early_stopping_metric: the validation metric that chooses the epoch; purchase_auc and
            purchase_f1 are of the second head
        max_minutes: that the epochs of all stages and seeds may take, with their validation; when
            one has shown how long it takes, they become as many as fit, one a stage at least, and
            the learning rate decays to the last of them. 0 sets no limit
        patience_epochs: epochs without a better metric before training stops
        average_checkpoints: the mean of the weights of so many last checkpoints, where validation
            finds it better than the best epoch; 0 takes no mean
        ensemble_seeds: a model is trained with each of them, too, and the mean of all models'
            scores is what lists are made from
        warm_start: place of an older model to start from, by the names of its items and of all
            else that has one; what is new starts from its features, or from the mean
        refit: then train once more from the start, on train and validation together, for as many
            epochs as were best
        checkpoint_steps: steps between checkpoints within an epoch; 0 makes one an epoch
        keep_checkpoints: how many of the last checkpoints stay; that of an epoch's start does, too
        resume: go on with the last unfinished run, if all that decides the weights is as it was
            then; within an epoch only with as many ranks as have begun it
        stall_seconds: a rank that keeps the others waiting for so long, be it by writing a
            checkpoint or the model, is named and stops the job, or is ended where ranks may come
            and go; a reader that gives nothing for so long stops the job, too
        mlflow_uri: server (or folder) of MLflow that is told of the run, in an experiment of the
            pipeline's name; null tells none. Needs the package: pip install recsys[mlflow]
        tflite: also export the model for TensorFlow Lite, and compare it with the model on rows of
            validation; takes seconds, and as much room again
        cpu_threads: TensorFlow threads of one rank; 0 shares the machine's cores among its ranks
        lanes: parts of a batch's rows that a rank learns from at the same time, each on its share
            of the threads: for CPUs, where two lanes on two threads took 0.76 to 0.87 times as long
            as one lane on both; dropout and augmentation draw for each lane
        precision: of the products in the cells, and of the scores in training: float32; or mixed,
            with bfloat16 operands (on two CPU cores that have AVX-512 BF16 a step took 0.87 to 0.95
            times as long) or float16 ones (1.18 times as long there; meant for GPUs, where it was
            not measured)
        xla: let XLA compile what it can of a step; on a CPU a step took 1.6 times as long with it
    """

    epochs: int = 10
    batch_targets_per_rank: int = 1024
    optimizer: Literal["adam", "adagrad"] = "adam"
    learning_rate: float = 0.002
    learning_rate_by_ranks: bool = False
    learning_rate_length_power: float = 0.0
    warmup_steps: int = 50
    decay: Literal["none", "linear", "cosine"] = "none"
    clip_norm: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    cell: Literal["rnn", "gru", "lstm"] = "gru"
    layers: int = 1
    readout: Literal["last", "attention"] = "last"
    embedding_size: int = 64
    tied_output: bool = True
    event_inputs: tuple[EventInput, ...] = ("event_type", "gap", "session_start")
    event_type_weights: dict[str, float] = field(default_factory=dict)
    item_features: tuple[str, ...] = ()
    normalize: bool = False
    scale: float = 16.0
    repeat: bool = True
    embedding_dropout: float = 0.0
    input_dropout: float = 0.2
    state_dropout: float = 0.2
    augment: Augment = field(default_factory=Augment)
    loss: Literal["cross_entropy", "bpr_max", "top1_max"] = "cross_entropy"
    bpr_max_regularization: float = 1.0
    negatives: int = 0
    negatives_power: float = 0.5
    negatives_from_batch: bool = False
    basket_power: float = 0.0
    purchase_weight: float = 0.0
    early_stopping_metric: ValidationMetric = "recall@20"
    max_minutes: float = 0.0
    patience_epochs: int = 2
    average_checkpoints: int = 0
    ensemble_seeds: tuple[int, ...] = ()
    warm_start: str | None = None
    refit: bool = False
    checkpoint_steps: int = 0
    keep_checkpoints: int = 2
    resume: bool = False
    stall_seconds: int = 300
    mlflow_uri: str | None = None
    tflite: bool = False
    cpu_threads: int = 0
    lanes: int = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False

    def __post_init__(self) -> None:
        require(not self.tflite or self.precision == "float32", "train.tflite",
                "false beside another precision than float32", self.tflite)  # fmt: skip
        different = len(set(self.event_inputs)) == len(self.event_inputs)
        require(different, "train.event_inputs", "different inputs", self.event_inputs)
        for name, weight in self.event_type_weights.items():
            require(weight >= 0, f"train.event_type_weights.{name}", "0 or more", weight)
        for key in ("epochs", "batch_targets_per_rank", "learning_rate", "clip_norm", "layers",
                    "embedding_size", "scale", "patience_epochs", "keep_checkpoints",
                    "stall_seconds", "lanes"):  # fmt: skip
            value = getattr(self, key)
            require(value > 0, f"train.{key}", "a positive number", value)
        for key in ("embedding_dropout", "input_dropout", "state_dropout"):
            value = getattr(self, key)
            require(0 <= value < 1, f"train.{key}", "a share from 0 to below 1", value)
        for key in ("negatives", "negatives_power", "basket_power", "purchase_weight",
                    "checkpoint_steps", "l1", "l2", "bpr_max_regularization", "warmup_steps",
                    "average_checkpoints", "cpu_threads", "max_minutes"):  # fmt: skip
            value = getattr(self, key)
            require(value >= 0, f"train.{key}", "0 or more", value)
        require(self.average_checkpoints <= self.keep_checkpoints, "train.average_checkpoints",
                f"at most train.keep_checkpoints ({self.keep_checkpoints})",
                self.average_checkpoints)  # fmt: skip
        require(math.isfinite(self.max_minutes), "train.max_minutes", "a finite number",
                self.max_minutes)  # fmt: skip
        metric = self.early_stopping_metric
        require(self.purchase_weight > 0 or not metric.startswith("purchase_"),
                "train.early_stopping_metric",
                "recall, ndcg or mrr where train.purchase_weight is 0", metric)  # fmt: skip
        seeds = self.ensemble_seeds
        require(len({*seeds}) == len(seeds) and min(seeds, default=0) >= 0,
                "train.ensemble_seeds", "seeds of 0 or more that differ", seeds)  # fmt: skip
