"""The report's pictures, drawn by matplotlib as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

COLOURS = {
    "model": "#1a5fb4",
    "own_items_recent": "#c64600",
    "own_items": "#e5a50a",
    "popular": "#8a93a3",
    "bought": "#2b3245",
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
_INCHES = (5.2, 3.5)

Series = Mapping[str, Sequence[float]]  # of each system
Labels = Mapping[str, str]


@matplotlib.rc_context(_STYLE)
def bars(groups: Sequence[str], series: Series, labels: Labels, unit: str) -> bytes:
    """One group of bars for each group, one bar in it for each series."""
    figure, axes = _empty()
    width = 0.84 / len(series)
    for place, (name, values) in enumerate(series.items()):
        offset = (place - (len(series) - 1) / 2) * width
        centres = [group + offset for group in range(len(groups))]
        axes.bar(centres, values, width * 0.92, color=_colour(name), label=labels[name])
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(unit)
    _legend(axes, columns=2)
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def curves(lengths: Sequence[int], series: Series, labels: Labels, metric: str) -> bytes:
    """A line for each system over the length of the list."""
    figure, axes = _empty()
    for name, values in series.items():
        wide = 2.4 if name == "model" else 1.6
        axes.plot(lengths, values, color=_colour(name), label=labels[name], linewidth=wide)
    axes.set_xlabel("length of the list")
    axes.set_ylabel(metric)
    axes.set_xlim(min(lengths), max(lengths))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes, columns=2)
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def learning(epochs: Sequence[int], loss: Sequence[float], metric: Sequence[float]) -> bytes:
    """Loss on train and Recall@20 on validation after each epoch."""
    figure, axes = _empty()
    axes.plot(epochs, loss, color="#8a93a3", marker="o", markersize=4)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss on train", color="#5b6577")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    right = axes.twinx()
    right.plot(epochs, metric, color=COLOURS["model"], marker="o", markersize=4)
    right.set_ylabel("Recall@20 on validation", color=COLOURS["model"])
    right.grid(visible=False)
    right.spines["right"].set_visible(True)
    return _svg(figure)


@matplotlib.rc_context(_STYLE)
def shares(bands: Sequence[str], series: Series, labels: Labels) -> bytes:
    """How recommendations, and what was bought, spread over the bands of popularity."""
    figure, axes = _empty()
    left = [0.0] * len(series)
    names = list(series)
    for place, band in enumerate(bands):
        values = [series[name][place] for name in names]
        shade = matplotlib.colormaps["Blues"](0.95 - 0.8 * place / max(len(bands) - 1, 1))
        axes.barh(range(len(names)), values, 0.7, left=left, color=shade, label=band)
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(names)), [labels[name].replace(", ", ",\n") for name in names])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _legend(axes, columns=3, title="popularity rank in train")
    return _svg(figure)


def _colour(name: str) -> str:
    return COLOURS.get(name, "#5e4b8b")


def _empty() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_INCHES)
    return figure, figure.subplots()


def _legend(axes: Axes, columns: int, title: str | None = None) -> None:
    """Above the axes, where it hides nothing."""
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        title=title,
        title_fontsize=9,
        columnspacing=1.2,
        handlelength=1.4,
    )


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata=nothing)
    return buffer.getvalue()
