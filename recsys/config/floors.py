"""Floors: what a figure of the report must reach, or, where less is better, not exceed.

recall@20                           the model's figure
gini@20                             of those of LESS_IS_BETTER the most that it may be
recall@20 over popular              how far it is ahead of a reference
recall@20 in users=new              of a slice, at the longest list
recall@20 over popular in users=new
purchase auc                        a figure of the purchase head
purchase auc over purchase_rate     how far it is ahead of the item's purchase rate
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from recsys.config.checks import require

METRICS = (
    "recall", "precision", "f1", "hit_rate", "mrr", "ndcg", "map", "coverage", "gini", "novelty",
    "new_items", "serendipity", "popularity_bias", "category_diversity", "vector_diversity",
)  # fmt: skip
# Of slices, at the longest list alone.
SLICE_METRICS = ("recall", "ndcg", "mrr")
SLICES = (
    "users", "history", "items", "new_items", "event_type", "platform", "category", "day",
)  # fmt: skip
# What these slices part cases into; the data know the values of the others.
VALUES = {
    "users": ("returning", "new"),
    "history": ("up to 5", "6–20", "21–100", "over 100"),
    "items": ("head", "tail", "unknown"),
    "new_items": ("older", "new", "unknown"),
}
PURCHASE_METRICS = ("auc", "accuracy", "precision", "recall", "f1", "log_loss")
PURCHASE_REFERENCES = ("purchase_rate",)
LESS_IS_BETTER = ("gini", "popularity_bias", "log_loss")

_PURCHASE = "purchase"
_FORM = re.compile(
    r"(?P<metric>\w+)@(?P<k>[1-9]\d*)(?: over (?P<over>\w+))?(?: in (?P<slice>\w+)=(?P<value>.+))?"
)
_OF_PURCHASE = re.compile(rf"{_PURCHASE} (?P<metric>\w+)(?: over (?P<over>\w+))?")
_EXPECTED = (
    "METRIC@K, then as needed ' over REFERENCE' and ' in SLICE=VALUE'; or "
    f"'{_PURCHASE} METRIC', as needed with ' over {PURCHASE_REFERENCES[0]}'"
)


@dataclass(frozen=True)
class Floor:
    """What a figure must reach, or not exceed where less of it is better.

    Args:
        name: as in the configuration
        figure: such as recall@20, or auc
        over: the reference that the model must be ahead of; none asks for the figure itself
        slice: the slice and its value; none asks for all cases
        of_purchase: whether the figure is the purchase head's
    """

    name: str
    figure: str
    over: str | None = None
    slice: tuple[str, str] | None = None
    of_purchase: bool = False

    @property
    def less_is_better(self) -> bool:
        """Whether a model is better the lower its figure is."""
        return self.figure.split("@")[0] in LESS_IS_BETTER

    @property
    def is_ceiling(self) -> bool:
        """Whether what is given is the most; a lead over a reference always has a least."""
        return self.less_is_better and self.over is None

    def lead(self, model: float, reference: float) -> float:
        """How far the model's figure is better than the reference's."""
        return reference - model if self.less_is_better else model - reference


def parse(name: str, at: Collection[int], references: Collection[str]) -> Floor:
    """A key of evaluate.floors.

    Args:
        name: the key
        at: list lengths of the report
        references: of the report

    Raises:
        ConfigError: it names nothing that the report has
    """
    key = f"evaluate.floors.{name}"
    if of_purchase := _OF_PURCHASE.fullmatch(name):
        metric, over = of_purchase.groups()
        require_known(metric, PURCHASE_METRICS, key, "a figure of the purchase head")
        if over is not None:
            require_known(over, PURCHASE_REFERENCES, key, "a reference of the purchase head")
        return Floor(name, metric, over, of_purchase=True)
    found = _FORM.fullmatch(name)
    require(found is not None, key, _EXPECTED, name)
    metric, k, over, part, value = found.groups() if found else ("", 0, None, None, None)
    require_known(metric, METRICS, key, "a metric")
    require(int(k) in at, key, f"a list length of evaluate.at {tuple(at)}", int(k))
    if over is not None:
        require_known(over, references, key, "one of evaluate.references")
    if part is not None:
        require_known(part, SLICES, key, "a slice")
        shown = f"a metric of slices ({', '.join(SLICE_METRICS)}) at {max(at)}"
        require(metric in SLICE_METRICS and int(k) == max(at), key, shown, f"{metric}@{k}")
        if part in VALUES:
            require_known(str(value), VALUES[part], key, f"a value of the slice {part}")
    return Floor(name, f"{metric}@{k}", over, None if part is None else (part, str(value)))


def require_known(found: str, known: Collection[str], key: str, what: str) -> None:
    """Makes sure that a name in a floor is one of those known.

    Raises:
        ConfigError: names all that are known, and the nearest
    """
    nearest = difflib.get_close_matches(found, known, n=1, cutoff=0.4)
    hint = f"; the nearest is {nearest[0]}" if nearest else ""
    require(found in known, key, f"{what} ({', '.join(known) or 'none here'}{hint})", found)
