"""The learning curves as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_METRICS = ("recall@20", "mrr@20")


def draw_curves(history: Sequence[dict[str, float]], chosen_by: str) -> bytes:
    """A PNG of the training loss and the validation metrics over the epochs.

    Args:
        history: the metrics of every epoch
        chosen_by: the metric that chooses the epoch, which is drawn first; a line marks the epoch
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [metrics["epoch"] for metrics in history]
    best = max(history, key=lambda metrics: metrics[chosen_by])
    for place, names in enumerate((("loss",), metrics_drawn(chosen_by))):
        axes = figure.add_subplot(1, 2, place + 1)
        for name in names:
            axes.plot(epochs, [metrics[name] for metrics in history], marker="o", label=name)
        axes.axvline(best["epoch"], color="gray", linestyle=":", label=f"best {chosen_by}")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def metrics_drawn(chosen_by: str) -> tuple[str, ...]:
    """The validation metrics of the picture.

    >>> metrics_drawn("ndcg@10")
    ('ndcg@10', 'recall@20', 'mrr@20')
    >>> metrics_drawn("mrr@20")
    ('recall@20', 'mrr@20')
    """
    return _METRICS if chosen_by in _METRICS else (chosen_by, *_METRICS)
