"""Floors: what a figure of the report must reach.

recall@20                           the model's figure
recall@20 over popular              how far it is ahead of a reference
recall@20 in users=new              of a slice, at the longest list
recall@20 over popular in users=new
"""

from __future__ import annotations

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

_FORM = re.compile(
    r"(?P<metric>\w+)@(?P<k>\d+)(?: over (?P<over>\w+))?(?: in (?P<slice>\w+)=(?P<value>.+))?"
)
_EXPECTED = "METRIC@K, then as needed ' over REFERENCE' and ' in SLICE=VALUE'"


@dataclass(frozen=True)
class Floor:
    """What a figure must reach.

    Args:
        name: as in the configuration
        figure: such as recall@20
        over: the reference that the model must be ahead of; none asks for the figure itself
        slice: the slice and its value; none asks for all cases
    """

    name: str
    figure: str
    over: str | None
    slice: tuple[str, str] | None


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
    found = _FORM.fullmatch(name)
    require(found is not None, key, _EXPECTED, name)
    metric, k, over, part, value = found.groups() if found else ("", 0, None, None, None)
    require(metric in METRICS, key, f"a metric ({', '.join(METRICS)})", metric)
    require(int(k) in at, key, f"a list length of evaluate.at {tuple(at)}", int(k))
    known = f"one of evaluate.references ({', '.join(references)})"
    require(over is None or over in references, key, known, over)
    if part is not None:
        require(part in SLICES, key, f"a slice ({', '.join(SLICES)})", part)
        shown = f"a metric of slices ({', '.join(SLICE_METRICS)}) at {max(at)}"
        require(metric in SLICE_METRICS and int(k) == max(at), key, shown, f"{metric}@{k}")
    return Floor(name, f"{metric}@{k}", over, None if part is None else (part, str(value)))
