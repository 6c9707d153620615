"""The learning curves as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def draw_curves(history: Sequence[dict[str, float]]) -> bytes:
    """A PNG of the training loss and the validation metrics over the epochs."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [metrics["epoch"] for metrics in history]
    for place, names in enumerate((("loss",), ("recall@20", "mrr@20"))):
        axes = figure.add_subplot(1, 2, place + 1)
        for name in names:
            axes.plot(epochs, [metrics[name] for metrics in history], marker="o", label=name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
