"""The report's pictures, drawn by matplotlib as SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

COLOURS = {
    "model": "#1a5fb4",
    "popular": "#8a93a3",
    "bought": "#2b3245",
    "own_items_recent": "#c64600",
    "own_items": "#e5a50a",
    "item_knn": "#26a269",
    "session_knn": "#9141ac",
    "hybrid": "#c01c28",
    "popular_recent": "#557799",
    "in_session": "#7a6a2f",
    "recently_viewed": "#3d7f8f",
    "category_best_sellers": "#4f7a3a",
    "user_knn": "#996633",
    "association_rules": "#775544",
    "sequential_rules": "#a05a7c",
    "matrix_factorization": "#5e4b8b",
    "content": "#b58fc2",
    # The models of two runs.
    "first": "#7d8799",
    "second": "#1b66c9",
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "recsys",  # the same picture is the same bytes
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a93a3",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e1e5ec",
    "legend.frameon": False,
    "legend.fontsize": 9,
}
# All pictures have this width, so that their text has one size, on a phone too.
_INCHES = (4.8, 3.4)
# Height of a line of small text in inches, and where the axes lie with names beside them, as shares
# of the picture's width and height.
_LINE = 0.16
_BESIDE = {"left": 0.17, "right": 0.6, "bottom": 0.14, "top": 0.97}
# Steps of an axis of long numbers, at most.
_FEW = 5
# Small letters that fit under an axis.
_LETTERS = 58

Series = Mapping[str, Sequence[float]]  # of each system
Labels = Mapping[str, str]


@matplotlib.rc_context(_STYLE)
def intervals(
    values: Mapping[str, float], ranges: Mapping[str, Sequence[float] | None], labels: Labels,
    metric: str,
) -> bytes:  # fmt: skip
    """A point for each system with its 95 % interval where it has one, the best on top."""
    names = sorted(values, key=lambda name: values[name])
    figure, axes = _empty(height=0.9 + 0.3 * len(names))
    for place, name in enumerate(names):
        ends = ranges[name] or ()
        axes.plot(ends, [place] * len(ends), color=COLOURS[name], linewidth=2)
        axes.plot(values[name], place, "o", color=COLOURS[name], markersize=6)
    axes.set_yticks(range(len(names)), [labels[name] for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(_FEW))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(metric)
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def curves(lengths: Sequence[int], series: Series, labels: Labels, metric: str) -> bytes:
    """A line for each system over the length of the list."""
    figure, axes = _empty()
    for name, values in series.items():
        wide = 2.4 if name == "model" else 1.6
        axes.plot(lengths, values, color=COLOURS[name], label=labels[name], linewidth=wide)
    axes.set_xlabel("length of the list")
    axes.set_ylabel(metric)
    axes.set_xlim(min(lengths), max(lengths))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, columns=2)
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def against(
    across: Mapping[str, float], up: Mapping[str, float], labels: Labels, x: str, y: str
) -> bytes:
    """A point for each system, its name beside the axes: up and to the right is better."""
    figure, axes = _empty(height=max(_INCHES[1], 0.8 + _LINE * len(up)), layout=None)
    figure.subplots_adjust(**_BESIDE)
    highest = max(up.values()) or 1
    names = sorted(up, key=lambda name: (up[name], -across[name]))
    gap = _LINE / (figure.get_figheight() * axes.get_position().height)
    axes.set_xlim(0, 1.05 * (max(across.values()) or 1))
    axes.set_ylim(0, 1.05 * highest)
    places = spread_out([up[name] / (1.05 * highest) for name in names], gap)
    for name, place in zip(names, places, strict=True):
        size = 9 if name == "model" else 6
        # Whole on the border too, where all get the same few items.
        axes.plot(
            across[name], up[name], "o", color=COLOURS[name], markersize=size, clip_on=False,
            zorder=3,
        )  # fmt: skip
        line = {"arrowstyle": "-", "color": COLOURS[name], "linewidth": 0.5, "alpha": 0.6}
        axes.annotate(
            labels[name], (across[name], up[name]), (1.04, place), fontsize=8,
            color=COLOURS[name], va="center", textcoords="axes fraction",
            arrowprops={**line, "shrinkB": 0, "relpos": (0, 0.5)}, annotation_clip=False,
        )  # fmt: skip
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(_FEW))
    return _svg(figure)


def spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """Where names stand so that none hides another, each as near to its own height as that goes.

    Args:
        heights: shares of the axes' height, rising
        gap: between two names, at least

    >>> [round(place, 2) for place in spread_out([0.1, 0.5, 0.5, 0.98, 1.0], 0.1)]
    [0.1, 0.5, 0.6, 0.9, 1.0]
    """
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + gap) if places else height)
    highest = max(1.0, gap * (len(places) - 1))
    for place in reversed(range(len(places))):
        places[place] = min(places[place], highest)
        highest = places[place] - gap
    return places


@matplotlib.rc_context(_STYLE)
def learning(epochs: Sequence[int], loss: Sequence[float], metric: Sequence[float]) -> bytes:
    """Loss on train and Recall@20 on validation after each epoch."""
    figure, axes = _empty()
    axes.plot(epochs, loss, color="#8a93a3", marker="o", markersize=4)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss on train", color="#5b6577")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    right = axes.twinx()
    right.plot(epochs, metric, color=COLOURS["model"], marker="o", markersize=4)
    right.set_ylabel("Recall@20 on validation", color=COLOURS["model"])
    right.grid(visible=False)
    right.spines["right"].set_visible(True)
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def shares(bands: Sequence[str], series: Series, labels: Labels) -> bytes:
    """How recommendations, and what was bought, spread over the bands of frequency."""
    figure, axes = _empty(height=1.4 + 0.34 * len(series))
    left = [0.0] * len(series)
    names = list(series)
    for place, band in enumerate(bands):
        values = [series[name][place] for name in names]
        shade = matplotlib.colormaps["Blues"](0.95 - 0.8 * place / max(len(bands) - 1, 1))
        axes.barh(range(len(names)), values, 0.7, left=left, color=shade, label=band)
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(names)), [labels[name] for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _legend(figure, columns=3, title="rank by events of train")
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def counts(names: Sequence[str], values: Sequence[int], x: str, y: str) -> bytes:
    """A bar for each name; of many names only some are written."""
    figure, axes = _empty()
    axes.bar(range(len(names)), values, 0.9, color=COLOURS["model"])
    step = math.ceil(sum(len(name) + 2 for name in names) / _LETTERS) or 1
    axes.set_xticks(range(0, len(names), step), names[::step], fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def calibration(bins: Sequence[Mapping[str, Any]]) -> bytes:
    """A point for each bin, on the line where what is predicted comes true.

    With its 95 % interval where it has one.
    """
    figure, axes = _empty()
    predicted = [own["predicted"] for own in bins]
    highest = [own[name] or 0 for own in bins for name in ("predicted", "bought", "high")]
    most = 1.05 * max(highest) or 1
    axes.plot([0, most], [0, most], color="#8a93a3", linewidth=1.2)
    for own in bins:
        ends = [] if own["low"] is None else [own["low"], own["high"]]
        axes.plot([own["predicted"]] * len(ends), ends, color=COLOURS["model"], linewidth=2)
    axes.plot(predicted, [own["bought"] for own in bins], "o", color=COLOURS["model"], markersize=5)
    axes.set_xlabel("mean probability that is predicted")
    axes.set_ylabel("share that is bought")
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _svg(figure)


def _empty(
    height: float = _INCHES[1], layout: Literal["constrained"] | None = "constrained"
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_INCHES[0], height), layout=layout)
    return figure, figure.subplots()


def _legend(figure: Figure, columns: int, title: str | None = None) -> None:
    """Above the axes, where it hides nothing."""
    figure.legend(
        loc="outside upper center",
        ncols=columns,
        title=title,
        title_fontsize=9,
        columnspacing=1.2,
        handlelength=1.4,
    )


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()
